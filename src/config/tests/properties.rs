//! What holds for any input.

use proptest::prelude::*;
use proptest::sample::{Index, subsequence};

use super::*;
use crate::config::kind::KIB;

/// Settings that are nearly right: some with their own value, some with that of another or with an
/// odd one.
fn nearly_right() -> impl Strategy<Value = Vec<(&'static str, String)>> {
    let value = prop_oneof![
        3 => any::<Index>().prop_map(|i| i.get(SAMPLES).1.to_owned()),
        1 => any::<i64>().prop_map(|n| n.to_string()),
        1 => (0u64..5000, "[KMGT]?i?B").prop_map(|(n, unit)| format!("\"{n} {unit}\"")),
        1 => "\\PC{0,8}".prop_map(|text| toml::Value::from(text).to_string()),
    ];
    let line = (any::<Index>(), value).prop_map(|(i, value)| (i.get(SAMPLES).0, value));
    proptest::collection::vec(line, 0..4)
}

proptest! {
    #[test]
    fn any_bytes_are_read_or_refused(data in proptest::collection::vec(any::<u8>(), 0..300)) {
        fuzz(&data);
    }

    #[test]
    fn nearly_right_settings_are_read_or_refused(settings in nearly_right()) {
        let settings: Vec<_> = settings.iter().map(|(n, v)| (*n, v.as_str())).collect();
        let text = file(&settings);
        let lines: Vec<_> = variables(&settings)
            .iter()
            .map(|(name, value)| format!("{name}={value}\n"))
            .collect();
        let lines = lines.concat();
        fuzz(text.as_bytes());
        fuzz(format!("\0{lines}").as_bytes());
        fuzz(format!("{text}\0{lines}").as_bytes());
    }

    #[test]
    fn damaged_files_are_read_or_refused(
        edits in proptest::collection::vec((any::<Index>(), any::<u8>()), 1..5),
        cut in any::<Index>(),
        sampled in any::<bool>(),
    ) {
        let text = if sampled { file(SAMPLES) } else { Config::reference() };
        let mut data = text.into_bytes();
        for (at, byte) in edits {
            let at = at.index(data.len());
            data[at] = byte;
        }
        fuzz(&data);
        data.truncate(cut.index(data.len()));
        fuzz(&data);
    }

    #[test]
    fn any_choice_of_valid_settings_is_accepted_and_comes_back(
        file_part in subsequence(SAMPLES, 0..=SAMPLES.len()),
        env_part in subsequence(SAMPLES, 0..=SAMPLES.len()),
    ) {
        let free = |samples: Vec<(&'static str, &'static str)>| -> Vec<_> {
            // These go with others only.
            let alone = |name: &str| !name.starts_with("tls.") && name != "zookeeper.servers";
            samples.into_iter().filter(|(name, _)| alone(name)).collect()
        };
        let (file_part, env_part) = (free(file_part), free(env_part));
        let text = file(&file_part);
        let loaded = Config::parse(Some(("hub.toml", &text)), variables(&env_part)).unwrap();
        let printed = loaded.config.to_toml();
        prop_assert_eq!(&parse(&printed, &[]).unwrap(), &loaded);
        for (name, _) in SAMPLES {
            let given = file_part.iter().chain(&env_part).any(|(other, _)| other == name);
            let show = setting(name).show;
            prop_assert_eq!(show(&loaded.config) != show(&Config::default()), given, "{}", name);
        }
    }

    #[test]
    fn sizes_come_back(bytes in prop_oneof![MIB..4 * GIB, (KIB..4 * MIB).prop_map(|n| n * KIB)]) {
        let mut config = Config::default();
        config.spoke.segment_bytes = bytes;
        prop_assert_eq!(parse(&config.to_toml(), &[]).unwrap().config, config);
    }
}
