//! One host that is cut off from the store while another reaches it: its users do not depart, those who leave do.

use super::*;
use crate::limits::{CUT_OFF_HOLD_LEFT_MS, CUT_OFF_MS_MAX, CUT_OFF_RETRY_MS, PRESENCE_GRACE_MS};
use crate::port::DocumentPut;
use crate::presence::rules::cut_off::document;
use crate::presence::tests::faulty_host::{Fault, FaultyHost};
use crate::presence::{client_heartbeat, connected};

const DAN: UserId = UserId::from_u128(0xda);
const SWEEPS_MS: u64 = 3 * SWEEP_INTERVAL_MS as u64;

impl Outage {
    /// Two hosts of which Ann's cannot reach the store any more.
    fn without_anns_host(reach: Reach) -> Self {
        let mut outage = Self::new();
        outage.hosts[0].reach = reach;
        outage
    }

    /// Ann's host reaches the store again.
    fn reconnect(&mut self) {
        self.hosts[0].reach = Reach::Everything;
    }

    /// Another host, to which Dan is connected.
    fn add_host(&mut self) {
        block_on(self.world.add_contact(DAN, BOB)).unwrap();
        block_on(self.world.add_contact(BOB, DAN)).unwrap();
        self.hosts.push(SimpleHost::new(DAN, self.now_ms));
        self.pass(SWEEPS_MS);
        assert_eq!(self.received(), [(DAN, "user.online")].map(own));
    }

    /// How often hosts that are cut off have noted it.
    fn notes(&self) -> u64 {
        let found = block_on(self.world.read_documents(vec![document()])).unwrap().remove(0);
        found.map_or(0, |document| document.version)
    }
}

#[test]
fn a_host_that_is_cut_off_alone_is_nobodys_departure() {
    for span_ms in [45, 120, 600].map(|seconds| seconds * SECOND_MS) {
        // The cut begins at different times after the last heartbeat.
        for before_ms in (0..HEARTBEAT_INTERVAL_MS).step_by(4_000) {
            let mut outage = Outage::new();
            outage.pass(before_ms);
            outage.hosts[0].reach = Reach::Records;
            outage.pass(span_ms);
            outage.reconnect();
            outage.pass(2 * PRESENCE_TTL_MS);
            assert_eq!(outage.received(), [], "{span_ms} ms, {before_ms} ms after a heartbeat");
        }
    }
}

#[test]
fn the_note_is_seldom_written_and_never_ends_during_a_cut() {
    let mut outage = Outage::without_anns_host(Reach::Records);
    outage.pass(2 * PRESENCE_TTL_MS);
    let before = outage.notes();
    outage.pass(600 * SECOND_MS);
    let most = 600 * SECOND_MS / (CUT_OFF_HOLD_MS - CUT_OFF_HOLD_LEFT_MS) + 1;
    let written = outage.notes() - before;
    assert!(written > 10 && written <= most, "{written} of at most {most}");
    assert!(outage.world.telemetry.series("presence_swept{result=held}") > 0);
    assert_eq!(outage.world.telemetry.series("presence_cut_off{outcome=noted}"), outage.notes());
}

#[test]
fn users_of_a_host_that_dies_meanwhile_go_offline_after_the_cut() {
    let mut outage = Outage::new();
    outage.add_host();
    outage.hosts[0].reach = Reach::Records;
    outage.hosts[1].is_alive = false;
    outage.pass(120 * SECOND_MS);
    assert_eq!(outage.received(), [], "they may be connected to the host that is cut off");
    outage.reconnect();
    outage.pass(CUT_OFF_HOLD_MS + SWEEPS_MS);
    assert_eq!(outage.received(), [(CAT, "user.offline")].map(own));
}

#[test]
fn users_who_leave_meanwhile_go_offline_after_the_grace_period() {
    let mut outage = Outage::without_anns_host(Reach::Records);
    outage.pass(2 * PRESENCE_TTL_MS);
    outage.hosts[1].next_heartbeat_at = u64::MAX;
    block_on(disconnect(&outage.world, CAT, &connection("a"))).unwrap();
    outage.pass(PRESENCE_GRACE_MS + SWEEPS_MS);
    assert_eq!(outage.received(), [(CAT, "user.offline")].map(own));
    outage.pass(2 * PRESENCE_TTL_MS);
    assert_eq!(outage.received(), [], "Ann is held all the time");
}

/// Ann has a phone at the host that is cut off, and a laptop at the other one.
#[test]
fn a_user_who_leaves_with_one_device_may_be_connected_with_another() {
    for connects_before in [true, false] {
        let mut outage = Outage::new();
        let laptop = connection("laptop");
        let heartbeats = |outage: &mut Outage, count: usize| {
            for _ in 0..count {
                block_on(heartbeat(&outage.world, &[(ANN, laptop.clone())])).unwrap();
                outage.pass(HEARTBEAT_INTERVAL_MS);
            }
        };
        if connects_before {
            block_on(connected(&outage.world, ANN, &laptop)).unwrap();
            outage.hosts[0].reach = Reach::Records;
            heartbeats(&mut outage, 4);
        } else {
            outage.hosts[0].reach = Reach::Records;
            outage.pass(2 * PRESENCE_TTL_MS);
            block_on(connected(&outage.world, ANN, &laptop)).unwrap();
            heartbeats(&mut outage, 2);
        }
        block_on(disconnect(&outage.world, ANN, &laptop)).unwrap();
        outage.pass(2 * PRESENCE_TTL_MS);
        outage.reconnect();
        outage.pass(2 * PRESENCE_TTL_MS);
        assert_eq!(outage.received(), [], "connects before: {connects_before}");
    }
}

#[test]
fn a_host_that_reaches_nothing_looks_like_one_that_died() {
    for (span_ms, goes_offline) in [(30 * SECOND_MS, false), (PRESENCE_TTL_MS, true), (600 * SECOND_MS, true)] {
        let mut outage = Outage::without_anns_host(Reach::Nothing);
        outage.pass(span_ms + SWEEPS_MS);
        let expected = if goes_offline { vec![own((ANN, "user.offline"))] } else { vec![] };
        assert_eq!(outage.received(), expected, "{span_ms} ms");
        outage.reconnect();
        outage.pass(PRESENCE_TTL_MS);
        let expected = if goes_offline { vec![own((ANN, "user.online"))] } else { vec![] };
        assert_eq!(outage.received(), expected, "after {span_ms} ms");
    }
}

#[test]
fn a_cut_that_does_not_end_holds_nobody_for_ever() {
    let mut outage = Outage::without_anns_host(Reach::Records);
    outage.pass(CUT_OFF_MS_MAX - HEARTBEAT_INTERVAL_MS);
    assert_eq!(outage.received(), []);
    outage.pass(HEARTBEAT_INTERVAL_MS + CUT_OFF_HOLD_MS + SWEEPS_MS);
    assert_eq!(outage.received(), [(ANN, "user.offline")].map(own));
    outage.reconnect();
    outage.pass(SWEEPS_MS);
    assert_eq!(outage.received(), [(ANN, "user.online")].map(own));
}

#[test]
fn a_note_of_a_clock_that_is_far_ahead_holds_nobody() {
    let mut outage = Outage::without_anns_host(Reach::Nothing);
    let next_year = outage.world.now().plus(365 * 86_400_000).0.to_string();
    block_on(outage.world.put_document(DocumentPut::new(document(), next_year, None))).unwrap();
    outage.pass(PRESENCE_TTL_MS + SWEEPS_MS);
    assert_eq!(outage.received(), [(ANN, "user.offline")].map(own));
}

#[test]
fn a_client_without_a_socket_notes_that_its_host_is_cut_off() {
    let outage = Outage::new();
    outage.world.store.set_unavailable();
    assert!(block_on(connected(&outage.world, ANN, &connection("b"))).is_err());
    assert_eq!(outage.notes(), 0, "a connection that is refused is no user of this host");
    assert!(block_on(client_heartbeat(&outage.world, ANN, &connection("a"))).is_err());
    assert_eq!(outage.notes(), 1);
}

#[test]
fn a_heartbeat_fails_with_the_error_of_the_store_whatever_the_records_answer() {
    let fixture = Fixture::new();
    // The first call is not carried out, and neither is any other.
    let host = FaultyHost::dying(&fixture.world, 0, Fault::Before);
    let failure = block_on(heartbeat(&host, &[(ANN, connection("a"))])).unwrap_err();
    assert!(failure.is_store_unavailable(), "{failure:?}");
    assert_eq!(fixture.world.telemetry.series("presence_cut_off{outcome=failed}"), 1);
}

#[test]
fn a_departure_waits_for_records_that_do_not_answer() {
    let fixture = Fixture::new();
    fixture.heartbeat("a");
    fixture.pass(PRESENCE_TTL_MS);
    // The calls are: deadlines, state, and the note, which is not answered.
    let host = FaultyHost::failing(&fixture.world, 2, Fault::Before);
    assert_eq!(block_on(sweep(&host, shard(ANN))), Ok(SweepSummary { held: 1, ..SweepSummary::default() }));
    assert_eq!(fixture.due(), Some(fixture.world.now().plus(CUT_OFF_RETRY_MS).score()));
    fixture.pass(CUT_OFF_RETRY_MS);
    assert_eq!(fixture.sweep().offline, 1);
}

#[test]
fn a_host_does_not_repeat_what_another_has_noted() {
    let outage = Outage::new();
    let until = outage.world.now().plus(CUT_OFF_HOLD_MS).0.to_string();
    block_on(outage.world.put_document(DocumentPut::new(document(), until, None))).unwrap();
    outage.world.store.set_unavailable();
    assert!(outage.heartbeat(ANN).is_err());
    assert_eq!(outage.notes(), 1);
}
