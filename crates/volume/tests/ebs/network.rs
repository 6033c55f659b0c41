//! Networks that do not refuse but do not answer either: every call comes to an end.

use crate::lab::{FAST, HERE, Lab, create, named, refused, request};
use ebs_sim::{Effect, Fault};
use error::Kind;
use tokio::net::TcpListener;

const KEYS: [(&str, &str); 3] =
    [("accessKey", "AKIAMOBULASIMULATOR"), ("secretKey", "simulated-secret-of-mobula"), FAST[0]];

#[tokio::test(flavor = "multi_thread")]
async fn an_endpoint_that_accepts_and_never_answers_is_given_up() {
    let lab = Lab::without_disks().await;
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = silent.local_addr().unwrap();
    let holding = tokio::spawn(async move {
        let mut held = Vec::new();
        while let Ok(connection) = silent.accept().await {
            held.push(connection);
        }
    });
    // Without and with TLS, whose handshake is never answered.
    let hurried = ("waitTimeout", "3");
    for scheme in ["http", "https"] {
        let endpoint = format!("{scheme}://{address}");
        let options = [("endpoint", endpoint.as_str()), KEYS[0], KEYS[1], hurried];
        let driver = lab.open(HERE, &options).unwrap();
        refused(driver.find(&named("pg")).await, Kind::Unavailable, "AWS");
        refused(driver.create(&request("pg", &[])).await, Kind::Unavailable, "AWS");
    }
    holding.abort();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_that_does_not_resolve_and_a_port_that_nobody_has_say_what_to_check() {
    let lab = Lab::without_disks().await;
    for endpoint in ["http://no-such-host.invalid", "http://127.0.0.1:1"] {
        let driver = lab.open(HERE, &[("endpoint", endpoint), KEYS[0], KEYS[1], KEYS[2]]).unwrap();
        let error = refused(driver.find(&named("pg")).await, Kind::Unavailable, "endpoint");
        assert!(error.chain().contains("check the network"), "{error}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_drips_is_read_or_given_up() {
    let lab = Lab::without_disks().await;
    let driver = lab.fast(HERE);
    create(&driver, "pg").await;
    lab.sim.inject(Fault::new(Effect::Drip { ms: 0 }).on("DescribeVolumes").times(1));
    assert!(driver.find(&named("pg")).await.unwrap().is_some());
    lab.sim.inject(Fault::new(Effect::Drip { ms: 50 }).on("DescribeVolumes"));
    refused(driver.find(&named("pg")).await, Kind::Unavailable, "lost");
    lab.sim.clear_faults();
    assert!(driver.find(&named("pg")).await.unwrap().is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_creation_that_drips_makes_one_volume() {
    let lab = Lab::without_disks().await;
    let driver = lab.fast(HERE);
    lab.sim.inject(Fault::new(Effect::Drip { ms: 50 }).on("CreateVolume").times(2));
    create(&driver, "pg").await;
    assert_eq!(lab.sim.volumes().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_is_no_xml_is_no_success() {
    let lab = Lab::without_disks().await;
    let proxy = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}", proxy.local_addr().unwrap());
    let answering = tokio::spawn(async move {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        let page = "HTTP/1.1 200 OK\r\ncontent-length: 6\r\nconnection: close\r\n\r\n<html>";
        while let Ok((mut stream, _)) = proxy.accept().await {
            let _ = stream.read(&mut [0; 4096]).await;
            let _ = stream.write_all(page.as_bytes()).await;
        }
    });
    let driver = lab.open(HERE, &[("endpoint", &endpoint), KEYS[0], KEYS[1], KEYS[2]]).unwrap();
    refused(driver.find(&named("pg")).await, Kind::Unavailable, "proxy");
    answering.abort();
}

#[tokio::test(flavor = "multi_thread")]
async fn many_look_ups_during_an_outage_fail_together_and_recover_together() {
    let lab = Lab::without_disks().await;
    let driver = lab.fast(HERE);
    create(&driver, "pg").await;
    lab.sim.reset_calls();
    lab.sim.partition(HERE, true);
    let looks = (0..50).map(|_| {
        let driver = driver.clone();
        tokio::spawn(async move { driver.find(&named("pg")).await })
    });
    for look in looks.collect::<Vec<_>>() {
        refused(look.await.unwrap(), Kind::Unavailable, "again");
    }
    lab.sim.heal(HERE);
    assert!(driver.find(&named("pg")).await.unwrap().is_some());
    assert!(lab.count("DescribeVolumes") <= 4, "{:?}", lab.sim.calls());
}
