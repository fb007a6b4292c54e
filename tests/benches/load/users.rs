//! `--mode users`: the latency of requests with more and more users in the records, some of whom are connected.

use std::sync::Arc;

use anyhow::Context;
use roost_core::ids::UserId;
use roost_tests::components;
use roost_tests::scenario::{Scenario, ScenarioOperation, Size};
use roost_tests::server::Server;
use tokio::task::JoinSet;
use uuid::Uuid;

use crate::Arguments;
use crate::benchmark::{as_str_pairs, rendered, write_records};
use crate::drive::{self, FixedRate, Requests};
use crate::socket_client::{Connected, Received, connect, require_files};

/// The number of different requests of an operation; after that, they repeat.
const REQUESTS: u32 = 20_000;
/// A prime number, so that the few requests of a run come from users all over the range.
const STRIDE: u32 = 7_919;
/// Requests a second, unless `--rate` is set.
const RATE: u32 = 200;

const OPERATIONS: [ScenarioOperation; 4] = [
    ScenarioOperation::PresenceOfContact,
    ScenarioOperation::Unread,
    ScenarioOperation::Inbox,
    ScenarioOperation::Send,
];

pub async fn run(arguments: &Arguments) -> anyhow::Result<()> {
    println!("| users | connected | operation | requests/s | p50, ms | p99, ms | failed |");
    println!("| ---: | ---: | --- | ---: | ---: | ---: | ---: |");
    for users in &arguments.users {
        with_users(arguments, *users).await?;
    }
    Ok(())
}

async fn with_users(arguments: &Arguments, users: u32) -> anyhow::Result<()> {
    let connected = arguments.connected.min(users as usize);
    require_files(connected + arguments.connections)?;
    let scenario = Scenario::new(Size { users, partners: 2, messages: 2, groups: &[] });
    let folder = tempfile::tempdir()?;
    std::fs::create_dir(folder.path().join("data"))?;
    write_records(&scenario, &folder.path().join("data"), &arguments.records_url).await?;
    let connections_max = (connected + 100).to_string();
    let mut set = vec![
        ("store_url", arguments.store_url.as_str()),
        ("records_url", arguments.records_url.as_str()),
        ("socket.connections_max", connections_max.as_str()),
    ];
    set.extend(as_str_pairs(&arguments.set));
    let host = Server::serve_in(folder, &components(), &set).await;
    let received = Arc::<Received>::default();
    let mut clients: JoinSet<anyhow::Result<Connected>> = (0..connected)
        .map(|number| {
            let user = uuid_of(scenario.user(u32::try_from(number).unwrap_or(u32::MAX)));
            connect(host.listen, (number, user), received.clone())
        })
        .collect();
    while let Some(client) = clients.join_next().await {
        client.context("a client does not panic")??;
    }
    // Requests come from whoever is connected.
    let active = if connected == 0 { users } else { u32::try_from(connected)? };
    let rate = FixedRate { per_second: arguments.rate.unwrap_or(RATE), span: arguments.span() };
    for operation in OPERATIONS.into_iter().filter(|operation| arguments.asks_for(*operation)) {
        let numbers = (0..REQUESTS).map(|number| spread(number, active));
        let requests: Vec<_> = numbers.map(|number| scenario.request(operation, number)).collect();
        let requests = Requests::new(rendered(&requests));
        let outcome = drive::open(host.listen, &requests, arguments.connections, rate).await;
        println!(
            "| {users} | {connected} | {} | {:.0} | {:.2} | {:.2} | {} |",
            operation.name(),
            outcome.per_second(),
            outcome.percentile(50.0),
            outcome.percentile(99.0),
            outcome.failures
        );
        if let Some(failure) = &outcome.first_failure {
            println!("\n{failure}\n");
        }
    }
    Ok(())
}

/// One of so many users for a request.
const fn spread(number: u32, users: u32) -> u32 {
    number.wrapping_mul(STRIDE) % users
}

const fn uuid_of(user: UserId) -> Uuid {
    Uuid::from_u128(user.as_u128())
}
