use super::*;
use crate::cli::template::Template;

fn row(name: &str, kind: &str, enabled: bool) -> PluginRow {
    PluginRow {
        description: "A volume plugin\nthat says very much about itself, too much in fact".into(),
        enabled,
        id: if kind == "legacy" { String::new() } else { "0123456789abcdef".repeat(4) },
        kind: kind.into(),
        name: name.into(),
        plugin_reference: format!("docker.io/{name}"),
        state: if enabled { "running" } else { "disabled" }.into(),
        types: vec!["docker.VolumeDriver/1.0".into()],
    }
}

#[test]
fn the_table_has_dockers_columns_and_two_more() {
    let mut rows = vec![row("vieux/sshfs:latest", "managed", true), row("old", "legacy", false)];
    rows.iter_mut().for_each(shorten);
    let expected = "\
ID            NAME                DESCRIPTION                                    ENABLED  KIND     STATE
0123456789ab  vieux/sshfs:latest  A volume plugin that says very much about it…  true     managed  running
              old                 A volume plugin that says very much about it…  false    legacy   disabled
";
    assert_eq!(list_table(&rows).render(None, false), expected);
}

#[test]
fn json_is_an_object_per_line() {
    let mut rows = vec![row("a", "managed", true), row("b", "managed", false)];
    rows.iter_mut().for_each(|row| row.description.clear());
    let id = "0123456789abcdef".repeat(4);
    let line = |name: &str, enabled: bool, state: &str| {
        format!(
            "{{\"Description\":\"\",\"Enabled\":{enabled},\"ID\":\"{id}\",\"Kind\":\"managed\",\
             \"Name\":\"{name}\",\"PluginReference\":\"docker.io/{name}\",\"State\":\"{state}\"}}\n"
        )
    };
    let expected = line("a", true, "running") + &line("b", false, "disabled");
    assert_eq!(json_lines(&rows).unwrap(), expected);
}

#[test]
fn templates_have_dockers_names() {
    let template = "{{.ID}} {{.Name}} {{.Enabled}} {{.PluginReference}} {{.Kind}} {{.State}}";
    let mut row = row("x", "managed", true);
    shorten(&mut row);
    let json = serde_json::to_value(&row).unwrap();
    let text = Template::parse(template).unwrap().render(&json, &PluginRow::fields()).unwrap();
    assert_eq!(text, "0123456789ab x true docker.io/x managed running");
    let raw = Template::parse(RAW).unwrap().render(&json, &PluginRow::fields()).unwrap();
    assert!(raw.starts_with("plugin_id: 0123456789ab\nname: x\n"), "{raw}");
    let wrong = Template::parse("{{.Nam}}").unwrap().render(&json, &PluginRow::fields());
    assert!(wrong.unwrap_err().message().contains("did you mean .Name"));
}

#[test]
fn filters_add_up_and_their_values_are_alternatives() {
    let filter = |texts: &[&str]| {
        Filter::parse(&texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>())
    };
    let (managed, legacy) = (row("a", "managed", true), row("b", "legacy", false));
    for (texts, expected) in [
        (&[][..], (true, true)),
        (&["enabled=true"], (true, false)),
        (&["enabled=true", "enabled=0"], (true, true)),
        (&["capability=volumedriver"], (true, true)),
        (&["capability=volume"], (false, false)),
        (&["kind=legacy"], (false, true)),
        (&["kind=legacy", "enabled=true"], (false, false)),
    ] {
        let filter = filter(texts).unwrap();
        assert_eq!((filter.admits(&managed), filter.admits(&legacy)), expected, "{texts:?}");
    }
    for text in ["foo", "foo=1", "enabled=maybe", "enabled", "capability=", "kind=x"] {
        let error = filter(&[text]).unwrap_err();
        assert!(error.message().starts_with(&format!("Invalid filter '{text}'")), "{error}");
    }
    let both = filter(&["enabled=1", "capability=volumedriver", "kind=managed"]).unwrap();
    let expected = r#"{"capability":["volumedriver"],"enabled":["true"]}"#;
    assert_eq!(both.for_docker().unwrap(), expected);
}

#[test]
fn names_are_sorted_as_people_do() {
    let mut names = ["p10", "p9", "p1", "q", "p", "p09", "p1a", "é", "p1:10", "p1:9"];
    names.sort_by(|a, b| natural(a, b));
    assert_eq!(names, ["p", "p1", "p1:9", "p1:10", "p1a", "p09", "p9", "p10", "q", "é"]);
}
