use super::*;
use proptest::prelude::*;

const KIGALI: Point = Point { lat: -1.9441, lon: 30.0619 };

fn cell(at: Point, resolution: u8) -> CellIndex {
    let resolution = Resolution::try_from(resolution).unwrap();
    LatLng::new(at.lat, at.lon).unwrap().to_cell(resolution)
}

/// The zone of a place.
fn zone(at: Point, resolution: u8) -> ZoneId {
    ZoneId::of_cell(cell(at, resolution).into())
}

fn scope(zones: &[ZoneId]) -> Scope {
    let names: Vec<String> = zones.iter().map(ZoneId::to_string).collect();
    Scope::of(&names).unwrap()
}

#[test]
fn everywhere_is_everywhere() {
    let everywhere = Scope::default();
    assert!(everywhere.is_everywhere() && everywhere.contains(KIGALI));
    assert!(everywhere.covers(zone(KIGALI, 4)) && everywhere.meets(zone(KIGALI, 9)));
    assert_eq!((everywhere.regions(), everywhere.to_string().as_str()), (vec![], "everywhere"));
}

#[test]
fn a_place_is_in_regions_of_any_size_or_in_none() {
    let far = KIGALI.offset_m(0.0, 300_000.0);
    for resolution in 0..=9 {
        let here = scope(&[zone(KIGALI, resolution)]);
        assert!(!here.is_everywhere() && here.contains(KIGALI), "{resolution}");
    }
    assert!(!scope(&[zone(KIGALI, 5)]).contains(far));
    let both = scope(&[zone(KIGALI, 5), zone(far, 7), zone(KIGALI, 5)]);
    assert!(both.contains(KIGALI) && both.contains(far));
    assert!(!both.contains(far.offset_m(0.0, 20_000.0)), "the second is a small one");
    assert_eq!(both.regions().len(), 2, "none twice");
}

#[test]
fn a_zone_is_within_meets_or_lies_elsewhere() {
    let cell = cell(KIGALI, 6);
    let here = scope(&[ZoneId::of_cell(cell.into())]);
    let size = |resolution: u8| Resolution::try_from(resolution).unwrap();
    for smaller in 6..=9 {
        let smaller = ZoneId::of_cell(cell.center_child(size(smaller)).unwrap().into());
        assert!(here.covers(smaller) && here.meets(smaller));
    }
    for larger in 4..=5 {
        let larger = ZoneId::of_cell(cell.parent(size(larger)).unwrap().into());
        assert!(!here.covers(larger) && here.meets(larger), "most of it is elsewhere");
    }
    let far = zone(KIGALI.offset_m(0.0, 300_000.0), 6);
    assert!(!here.covers(far) && !here.meets(far));
    let rubbish = ZoneId::of_cell(7);
    assert!(!here.covers(rubbish) && !here.meets(rubbish));
}

proptest! {
    /// Cells lie in each other only about: none of the zones a place is in is elsewhere for who has any other of them.
    #[test]
    fn zones_of_one_place_meet(lat in -60.0..60.0_f64, lon in -180.0..180.0_f64, mine in 0..=9_u8, asked in 4..=9_u8) {
        let at = Point { lat, lon };
        let here = scope(&[zone(at, mine)]);
        prop_assert!(here.meets(zone(at, asked)), "{mine} and {asked}");
    }
}

#[test]
fn what_names_no_regions_is_none() {
    let no_cell = |name: &str| Err(NoScope::NoCell(name.to_owned()));
    let [small, region] = [zone(KIGALI, 10).to_string(), format!("region-{}", cell(KIGALI, 5))];
    for name in ["", "zone-", "zone-7", "kigali", small.as_str(), region.as_str()] {
        assert_eq!(Scope::of(&[name]), no_cell(name));
    }
    assert_eq!(Scope::of::<&str>(&[]), Err(NoScope::Nowhere));
    let name = zone(KIGALI, 7).to_string();
    assert!(Scope::of(&vec![name.as_str(); REGIONS_MAX]).is_ok());
    assert_eq!(Scope::of(&vec![name.as_str(); REGIONS_MAX + 1]), Err(NoScope::TooMany));
}

#[test]
fn a_claim_is_a_list_of_names() {
    use serde_json::json;
    let name = zone(KIGALI, 7).to_string();
    assert_eq!(Scope::claimed(&json!([name])), Ok(scope(&[zone(KIGALI, 7)])));
    for rubbish in [json!(null), json!(name), json!([7]), json!([name, null]), json!({})] {
        assert_eq!(Scope::claimed(&rubbish), Err(NoScope::NoList), "{rubbish}");
    }
    assert_eq!(Scope::claimed(&json!([])), Err(NoScope::Nowhere));
    let many = vec![name; 10_000];
    assert_eq!(Scope::claimed(&json!(many)), Err(NoScope::TooMany));
}

#[test]
fn it_crosses_nodes_as_it_is() {
    for scope in [Scope::default(), scope(&[zone(KIGALI, 5), zone(KIGALI, 9)])] {
        let bytes = rmp_serde::to_vec_named(&scope).unwrap();
        assert_eq!(rmp_serde::from_slice::<Scope>(&bytes).unwrap(), scope);
    }
}

#[test]
fn not_all_of_many_regions_are_named() {
    let zones: Vec<ZoneId> =
        (0..12).map(|n| zone(KIGALI.offset_m(0.0, f64::from(n) * 30_000.0), 6)).collect();
    let said = scope(&zones).to_string();
    assert_eq!(said.matches("zone-").count(), NAMED_MAX);
    assert!(said.ends_with(" and 4 more"), "{said}");
}

proptest! {
    #[test]
    fn a_place_is_in_the_region_it_is_in(
        lat in -60.0..60.0, lon in -179.0..179.0, resolution in 0_u8..=9, other in 0_u8..=9,
    ) {
        let at = Point { lat, lon };
        let it = scope(&[zone(at, resolution)]);
        prop_assert!(it.contains(at));
        prop_assert!(it.covers(zone(at, resolution)) && it.meets(zone(at, resolution)));
        // Whatever is covered is met, too.
        prop_assert!(!it.covers(zone(at, other)) || it.meets(zone(at, other)));
    }
}
