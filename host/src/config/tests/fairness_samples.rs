//! A value that differs from its default, for each key about fairness between users and about stopping.

/// Keys with their values.
pub(super) const SAMPLES: [(&str, &str); 21] = [
    ("drain_delay_ms", "0"),
    ("http.idle_timeout_ms", "80000"),
    ("http.write_timeout_ms", "9000"),
    ("http.connections_max", "30000"),
    ("users.requests_per_second_max", "21"),
    ("users.requests_burst_max", "22"),
    ("users.frames_per_second_max", "23"),
    ("users.frames_burst_max", "24"),
    ("users.sends_per_second_max", "25"),
    ("users.sends_burst_max", "26"),
    ("users.typing_per_second_max", "27"),
    ("users.typing_burst_max", "28"),
    ("users.connects_per_second_max", "29"),
    ("users.connects_burst_max", "30"),
    ("users.calls_max", "31"),
    ("users.replays_max", "3"),
    ("connects.per_second_max", "51"),
    ("connects.at_once_max", "5"),
    ("connects.wait_max_ms", "5200"),
    ("connects.replays_max", "53"),
    ("connects.replay_bytes_max", "54000"),
];
