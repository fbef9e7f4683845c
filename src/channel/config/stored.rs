//! How values are written in the stored form of a configuration.

/// The default of a switch that is on.
pub(super) fn yes() -> bool {
    true
}

/// A time as a number of milliseconds since 1970.
pub(super) mod millis {
    use serde::{Deserialize, Deserializer, Serializer};

    use crate::env::Millis;

    #[allow(
        clippy::trivially_copy_pass_by_ref,
        reason = "serde passes fields by reference"
    )]
    pub(in super::super) fn serialize<S: Serializer>(
        time: &Millis,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.serialize_i64(time.get())
    }

    pub(in super::super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Millis, D::Error> {
        i64::deserialize(deserializer).map(Millis::new)
    }
}

/// A time as a number of milliseconds since 1970, or null.
pub(super) mod optional_millis {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    use crate::env::Millis;

    #[allow(
        clippy::ref_option,
        clippy::trivially_copy_pass_by_ref,
        reason = "serde passes fields by reference"
    )]
    pub(in super::super) fn serialize<S: Serializer>(
        time: &Option<Millis>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        time.map(Millis::get).serialize(serializer)
    }

    pub(in super::super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<Millis>, D::Error> {
        Ok(Option::<i64>::deserialize(deserializer)?.map(Millis::new))
    }
}
