use std::time::{Duration, Instant};
use hub_protocol_model::{check, scopes, walk, Rule};
fn main() {
    let args: Vec<String> = std::env::args().collect();
    if args[1] == "table" {
        let n: u64 = args[2].parse().unwrap();
        for rule in Rule::ALL { if args.len() > 3 && !args[3..].contains(&format!("{rule:?}")) { continue; } for config in scopes::all().into_iter().skip(2) {
            let t = Instant::now();
            let config = config.without(rule);
            match walk::explore(&config, 0..n, 150) { Ok(_) => println!("{rule:?} {}: nothing {:?}", config.name, t.elapsed()),
              Err(f) => { let s = walk::shorten(&config, &f); println!("{rule:?} {}: {:?} seed {} {} steps close {} {:?}", config.name, s.property, f.seed, s.actions.len(), s.at_close, t.elapsed()); } }
        } }
        return;
    }
    let name = args[2].as_str();
    let mut config = scopes::all().into_iter().find(|c| c.name == name).unwrap();
    for a in &args[4..] {
        if let Some(r) = Rule::ALL.into_iter().find(|r| format!("{r:?}") == *a) { config.without = Some(r); continue; }
        let (k, v) = a.split_once('=').unwrap(); let v: u16 = v.parse().unwrap();
        match k { "end" => config.end = v, "writes" => config.writes = v as u8, "reports" => config.reports = v as u8,
          "retries" => config.retries = v as u8, "confirms" => config.confirms = v as u8, "crashes" => config.crashes = v as u8,
          "start" => config.start = v, "lease" => config.lease = v, "skew" => config.skew = v, "window" => config.window = v, "coords" => config.coordinators = v as u8, "fall" => config.fallbacks = v as u8, "slow" => config.slow_disk = v == 1, "vouch" => config.vouching = v == 1,
          "closes" => config.closes = v == 1, "wipes" => config.wipes = v as u8, "frail" => config.frail = v as u8, "resends" => config.resends = v==1, "runs" => config.new_runs = v == 1, _ => panic!() }
    }
    let t = Instant::now();
    if args[1] == "bfs" {
        let e = check::explore(&config, Duration::from_secs(args[3].parse().unwrap()));
        println!("{} unique {} reached {} depth {} whole {} {:?}", name, e.unique, e.reached, e.depth, e.whole, t.elapsed());
        for (p, a) in &e.broken { println!("BROKEN {p}: {} steps", a.len()); for a in a { println!("   {a:?}"); } }
    } else {
        let n: u64 = args[3].parse().unwrap();
        let steps: usize = std::env::var("STEPS").ok().map_or(150, |s| s.parse().unwrap());
        match walk::explore(&config, 0..n, steps) {
            Ok(t2) => println!("{name} {t2:?} {:?}", t.elapsed()),
            Err(f) => { println!("{name} BROKEN {:?} seed {} at_close {} {} steps {:?}", f.property, f.seed, f.at_close, f.actions.len(), t.elapsed()); let s = walk::shorten(&config, &f); println!("{} steps", s.actions.len()); if f.at_close { let st = walk::replay(&config, &s.actions); println!("before {st:#?}"); println!("after {:#?}", hub_protocol_model::close::close(&config, &st, None)); }
             if std::env::var("TRACE").is_ok() { for i in 0..s.actions.len() { println!("   {:?}", s.actions[i]); let st = walk::replay(&config, &s.actions[..=i]); if std::env::var("TRACE").unwrap() == "2" { println!("        t={} {:?} stable {:?}", st.time, st.nodes.iter().map(|n| (n.raised, n.horizon, n.known, &n.copies)).collect::<Vec<_>>(), st.stable); } } } }
        }
    }
}
