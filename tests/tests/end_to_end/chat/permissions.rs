//! Who may do what: every cell of the table in `docs/api.md` is tried against the real binary, and the table has every
//! route and every frame.

mod attempt;
mod table;
mod world;

use std::collections::BTreeSet;

use futures_util::future::join_all;
use roost_tests::server::Server;
use serde_json::Value;

use attempt::{Outcome, attempt, attempt_anonymously};
use table::{Cell, Row, Subject, Table};
use world::{Block, Role, World};

/// The worlds in which a role tries a row. A block must have the same effect whoever of the two has blocked the other.
async fn worlds(server: &Server, role: Role, row: &Row) -> Vec<World> {
    let blocks: &[Block] = if role == Role::Blocked { &[Block::ByCaller, Block::ByOther] } else { &[Block::None] };
    let mut worlds = Vec::new();
    for block in blocks {
        worlds.push(World::make(server, role, *block, row.is_about_a_pair()).await);
    }
    worlds
}

async fn check(server: &Server, table: &Table, row: &Row, role: Role) -> Vec<String> {
    let cell = row.cell(role);
    let mut wrong = Vec::new();
    if *cell == Cell::Impossible {
        return wrong;
    }
    for world in worlds(server, role, row).await {
        let found = attempt(server, row, &world, *cell == Cell::YesForMember).await;
        let fits = match (cell, &found) {
            (Cell::Yes | Cell::YesForMember, Outcome::Done) | (Cell::YesHidden, Outcome::Hidden) => true,
            (Cell::Refused(code), Outcome::Refused { code: found, status }) => {
                code == found && status.is_none_or(|status| status == table.status(code))
            }
            _ => false,
        };
        if !fits {
            wrong.push(format!(
                "{} as {role:?} ({:?}): {cell:?} is documented, found {found:?}",
                row.title, world.block
            ));
        }
    }
    wrong
}

#[tokio::test]
async fn every_cell_of_the_table_is_what_the_host_does() {
    let server = Server::start(&[]).await;
    let table = Table::read();
    let mut wrong = Vec::new();
    for row in &table.rows {
        let checks = Role::ALL.map(|role| check(&server, &table, row, role));
        wrong.extend(join_all(checks).await.concat());
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    server.stop().await;
}

#[tokio::test]
async fn a_caller_without_credentials_may_only_read_the_descriptions() {
    let server = Server::start(&[]).await;
    let world = World::make(&server, Role::Member, Block::None, false).await;
    for row in &Table::read().rows {
        let Subject::Route { method, path } = &row.subject else { continue };
        let found = attempt_anonymously(&server, method, &world.fill_in(path)).await;
        let is_description = path.ends_with("api.json");
        let expected = if is_description { (200, None) } else { (401, Some("unauthenticated".to_owned())) };
        assert_eq!(found, expected, "{}", row.title);
    }
    server.stop().await;
}

#[tokio::test]
async fn the_table_has_every_route_and_every_frame() {
    let server = Server::start(&[]).await;
    let table = Table::read();
    let documented: BTreeSet<String> = table.rows.iter().map(|row| row.subject.to_string()).collect();
    let openapi = server.anonymous().get("/v1/openapi.json").await.json(200);
    let asyncapi = server.anonymous().get("/v1/asyncapi.json").await.json(200);
    let served: BTreeSet<String> = routes(&openapi).chain(frames(&asyncapi)).collect();
    assert_eq!(documented, served);
    server.stop().await;
}

/// Every method and path. Every `GET` is answered as `HEAD` too; the table does not repeat that.
fn routes(openapi: &Value) -> impl Iterator<Item = String> {
    openapi["paths"].as_object().unwrap().iter().flat_map(|(path, methods)| {
        let methods = methods.as_object().unwrap().keys().filter(|method| *method != "head");
        methods.map(move |method| format!("{} {path}", method.to_ascii_uppercase()))
    })
}

/// Every frame that clients may send.
fn frames(asyncapi: &Value) -> impl Iterator<Item = String> {
    let operations = asyncapi["operations"].as_object().unwrap().iter();
    operations.filter(|(_, operation)| operation["action"] == "receive").map(|(name, _)| name.clone())
}
