//! Named measurements over real sockets on loopback, with short trials.
#![expect(clippy::unwrap_used, reason = "helpers of tests end the test")]

use std::net::SocketAddr;
use std::time::Duration;

use sealcast_loadgen::report::Report;
use sealcast_loadgen::run::Plan;
use sealcast_loadgen::scenario::{Scenario, ScenarioError, Setup};
use sealcast_loadgen::schedule::{Rate, Shape, Traffic};
use sealcast_loadgen::source::Source;
use sealcast_net::shard::Placement;
use sealcast_net::{GroupOptions, Interface};
use serde_json::Value;

/// A setup over groups of its own: `first` is theirs alone among these tests.
fn setup(first: u8, groups: u8, repeats: u32) -> Setup {
    let group = |number: u8| {
        let addr = SocketAddr::from(([239, 255, 92, first + number], 21_000));
        let mut options = GroupOptions::new(addr);
        options.iface = Some(Interface::resolve("lo").unwrap());
        options
    };
    let groups: Vec<_> = (0..groups).map(group).collect();
    Setup {
        plan: Plan {
            source: Some(Source::Shape(Traffic {
                shape: Shape::Constant,
                rate: Rate::Packets(1000),
                len: 188,
                flows: 1,
                duration: Duration::from_secs(1),
                seed: 1,
            })),
            targets: groups.clone(),
            sinks: groups,
            shards: vec![Placement::default()],
            sink_shards: vec![Placement::default()],
            busy: false,
            variation: false,
            limit: None,
        },
        trial: Duration::from_millis(200),
        repeats,
        sizes: vec![188],
        command: None,
    }
}

fn measured(scenario: Scenario, setup: &Setup) -> Result<Report, ScenarioError> {
    scenario.run(setup, &mut |_, _| true)
}

fn rows(report: &Report, table: &str) -> Vec<Value> {
    report.to_json()["tables"][table]
        .as_array()
        .unwrap()
        .clone()
}

#[test]
fn latency_is_of_all_trials_of_a_size() {
    let mut setup = setup(1, 1, 2);
    setup.sizes = vec![64, 1316];
    let report = measured(Scenario::Latency, &setup).unwrap();
    let rows = rows(&report, "latency");
    assert!(report.good, "{report:?}");
    assert_eq!(
        (&rows[0]["size"], &rows[1]["size"]),
        (&64.into(), &1316.into())
    );
    // 200 datagrams in each of two trials.
    assert!(
        rows.iter()
            .all(|row| row["count"] == 400 && row["lost"] == 0),
        "{rows:?}"
    );
}

#[test]
fn every_group_counts_for_the_capacity() {
    let mut setup = setup(10, 12, 1);
    let report = measured(Scenario::GroupCapacity, &setup).unwrap();
    assert!(
        report.good && report.result.contains("all 12 groups"),
        "{report:?}"
    );
    let steps: Vec<_> = rows(&report, "capacity")
        .iter()
        .map(|row| row["groups"].as_u64().unwrap())
        .collect();
    assert_eq!(steps, [10, 12]);
    // The last sink listens elsewhere.
    setup.plan.sinks[11].group.set_port(21_999);
    let report = measured(Scenario::GroupCapacity, &setup).unwrap();
    assert!(report.result.starts_with("10 groups"), "{}", report.result);
    setup.plan.sinks.pop();
    assert!(matches!(
        measured(Scenario::GroupCapacity, &setup),
        Err(ScenarioError::Missing(_))
    ));
}

#[test]
fn the_throughput_is_below_what_the_generator_can() {
    let mut setup = setup(30, 1, 1);
    (setup.trial, setup.sizes) = (Duration::from_millis(50), vec![1316]);
    let report = measured(Scenario::AggregatedThroughput, &setup).unwrap();
    let row = rows(&report, "throughput").remove(0);
    let of = |key: &str| row[key].as_u64().unwrap_or_default();
    assert!(of("generator_per_second") > 1000, "{row}");
    assert!(of("per_second") <= of("generator_per_second"), "{row}");
}

#[test]
fn joining_is_measured_while_the_stream_runs() {
    let mut setup = setup(40, 1, 3);
    let report = measured(Scenario::Join, &setup).unwrap();
    assert!(
        report.good && report.result.contains("3 of 3"),
        "{report:?}"
    );
    assert!(
        rows(&report, "trials")
            .iter()
            .all(|row| row["first_ms"].as_f64().unwrap() < 5000.0)
    );
    // A receiver that ends instead of receiving is told, not waited for; its sink hears nothing of the stream.
    setup.plan.sinks[0].group.set_port(21_998);
    setup.command = Some("sleep 0.2".to_owned());
    let said = measured(Scenario::Join, &setup).unwrap_err().to_string();
    assert!(
        said.contains("sleep 0.2") && said.contains("before anything came"),
        "{said}"
    );
    // Datagrams that come before the command are no proof of it.
    setup.plan.sinks[0].group.set_port(21_000);
    let said = measured(Scenario::Join, &setup).unwrap_err().to_string();
    assert!(said.contains("come without it"), "{said}");
}

#[test]
fn what_sealing_costs_is_measured_with_what_came_back_whole() {
    let mut setup = setup(50, 1, 1);
    (setup.trial, setup.sizes) = (Duration::from_millis(30), vec![64, 1316, 1472]);
    setup.plan.targets.clear();
    let report = measured(Scenario::Encapsulation, &setup).unwrap();
    let rows = rows(&report, "encapsulation");
    assert_eq!(rows.len(), 3);
    for row in rows {
        let of = |key: &str| row[key].as_f64().unwrap();
        assert!(
            of("send_plain_ns") > 0.0
                && of("receive_sealed_ns") > 0.0
                && of("send_bits_per_second") > 0.0,
            "{row}"
        );
    }
}

#[test]
fn a_measurement_can_be_stopped() {
    let stopped = Scenario::Latency.run(&setup(60, 1, 1), &mut |_, _| false);
    assert!(matches!(stopped, Err(ScenarioError::Stopped)));
}
