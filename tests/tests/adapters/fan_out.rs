//! Cost follows whoever is there: a message to a group costs what its connected members cost, counted in commands of a
//! real Redis.

use roost_core::limits::MEMBERS_MAX;
use roost_tests::fan_out::FanOut;

#[tokio::test(flavor = "multi_thread")]
async fn a_group_of_1000_of_whom_50_are_connected_costs_a_fifth_of_the_commands_at_most() {
    let (few, all) = (FanOut::new(50).await, FanOut::new(MEMBERS_MAX).await);
    let (commands_of_few, commands_of_all) = (few.commands_of_send().await, all.commands_of_send().await);
    println!("50 of {MEMBERS_MAX} connected: {commands_of_few} commands; all: {commands_of_all}");
    assert!(commands_of_few * 5 <= commands_of_all, "{commands_of_few} of {commands_of_all} commands");
    assert!(commands_of_all < 10 * MEMBERS_MAX as u64, "{commands_of_all} commands");
    assert_eq!(few.keys_of_others().await, [""; 0], "invented members take no memory");
}

#[tokio::test(flavor = "multi_thread")]
async fn invented_members_take_no_memory() {
    let group = FanOut::new(1).await;
    let keys: i64 = group.redis.ask("DBSIZE").await;
    for _ in 0..20 {
        group.send().await;
    }
    assert_eq!(group.redis.ask::<i64>("DBSIZE").await, keys);
    assert_eq!(group.keys_of_others().await, [""; 0]);
}
