//! DescribeAvailabilityZones, DescribeRegions.

use super::Call;
use super::filters::Filters;
use crate::config::zone_id;
use crate::refusal::{Answered, Refusal};
use crate::world::tags::Tags;
use crate::xml::Xml;

/// Regions that are listed besides the one of the instances; others are served as well.
const REGIONS: [&str; 4] = ["eu-central-1", "eu-west-1", "us-east-1", "us-west-2"];

pub(super) fn zones(call: &mut Call<'_>, xml: &mut Xml) -> Answered<()> {
    let mut names = call.params.list("ZoneName");
    let ids = call.params.list("ZoneId");
    call.params.boolean("AllAvailabilityZones")?;
    let filters =
        Filters::take(&mut call.params, &["region-name", "state", "zone-id", "zone-name"])?;
    let region = call.region();
    let all = call.config.zones_of(&region);
    for id in ids {
        let found = all.iter().find(|zone| zone_id(zone) == id);
        names.push(found.cloned().unwrap_or(id));
    }
    if let Some(unknown) = names.iter().find(|name| !all.contains(name)) {
        return Err(Refusal::value(format!("Invalid availability zone: [{unknown}]")));
    }
    call.read()?;
    let wanted =
        all.iter().filter(|zone| names.is_empty() || names.contains(zone)).filter(|zone| {
            filters.pass(&Tags::new(), |name| {
                vec![match name {
                    "region-name" => region.clone(),
                    "state" => "available".to_owned(),
                    "zone-id" => zone_id(zone),
                    _ => (*zone).clone(),
                }]
            })
        });
    xml.list("availabilityZoneInfo", wanted, |xml, zone| {
        xml.text("zoneName", zone);
        xml.text("zoneState", "available");
        xml.text("regionName", &region);
        xml.text("zoneId", zone_id(zone));
        xml.text("zoneType", "availability-zone");
        xml.text("optInStatus", "opt-in-not-required");
        xml.node("messageSet", |_| ());
    });
    Ok(())
}

pub(super) fn regions(call: &mut Call<'_>, xml: &mut Xml) -> Answered<()> {
    let names = call.params.list("RegionName");
    call.params.boolean("AllRegions")?;
    let filters = Filters::take(&mut call.params, &["endpoint", "opt-in-status", "region-name"])?;
    let mut all: Vec<&str> = REGIONS.to_vec();
    all.push(&call.config.region);
    all.sort_unstable();
    all.dedup();
    if let Some(unknown) = names.iter().find(|name| !all.contains(&name.as_str())) {
        return Err(Refusal::value(format!("Invalid region name: [{unknown}]")));
    }
    call.read()?;
    let endpoint = |region: &str| format!("ec2.{region}.amazonaws.com");
    let wanted = all
        .iter()
        .filter(|region| names.is_empty() || names.iter().any(|name| name == *region))
        .filter(|region| {
            filters.pass(&Tags::new(), |name| {
                vec![match name {
                    "endpoint" => endpoint(region),
                    "opt-in-status" => "opt-in-not-required".to_owned(),
                    _ => (**region).to_owned(),
                }]
            })
        });
    xml.list("regionInfo", wanted, |xml, region| {
        xml.text("regionName", region);
        xml.text("regionEndpoint", endpoint(region));
        xml.text("optInStatus", "opt-in-not-required");
    });
    Ok(())
}
