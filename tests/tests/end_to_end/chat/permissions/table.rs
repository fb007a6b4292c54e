//! The table "Who may do what" of `docs/api.md`, and the statuses of the codes in it.

use std::collections::BTreeMap;
use std::fmt;

use roost_tests::markdown::table;

use super::world::Role;

const DOCUMENT: &str = include_str!("../../../../../docs/api.md");
const COLUMNS: [&str; 6] = ["route or frame", "stranger", "member", "creator", "blocked", "service"];

/// What a row is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Subject {
    /// A method and the template of a path.
    Route { method: String, path: String },
    /// The type of a frame.
    Frame(String),
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Route { method, path } => write!(f, "{method} {path}"),
            Self::Frame(name) => f.write_str(name),
        }
    }
}

/// What the table says of one role.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Cell {
    Yes,
    /// It is answered, and the other user is shown as offline and never seen.
    YesHidden,
    /// A service may do it if it acts for a user, who must be a member where a conversation is named.
    YesForMember,
    /// Refused with this code.
    Refused(String),
    /// The role cannot get into the situation.
    Impossible,
}

impl Cell {
    fn parse(text: &str) -> Self {
        match text {
            "–" => Self::Impossible,
            "yes" => Self::Yes,
            "yes, shown as offline" => Self::YesHidden,
            "yes, for a member" | "yes, for a user" => Self::YesForMember,
            _ => match text.strip_prefix('`').and_then(|code| code.strip_suffix('`')) {
                Some(code) => Self::Refused(code.to_owned()),
                None => panic!("{text:?} is neither a known `yes` nor a code nor –"),
            },
        }
    }
}

#[derive(Clone, Debug)]
pub(crate) struct Row {
    /// The first cell as it is written.
    pub(crate) title: String,
    pub(crate) subject: Subject,
    /// What stands behind the route or frame, such as `in a pair`.
    pub(crate) case: String,
    cells: BTreeMap<Role, Cell>,
}

impl Row {
    fn parse(cells: &[&str]) -> Self {
        let [title, ..] = cells else { panic!("an empty row") };
        let (subject, case) = title.strip_prefix('`').unwrap().split_once('`').unwrap();
        let subject = match subject.split_once(' ') {
            Some((method, path)) => {
                let path = path.replace('…', "/v1/conversations/{id}");
                Subject::Route { method: method.to_owned(), path }
            }
            None => Subject::Frame(subject.to_owned()),
        };
        let cells: Vec<Cell> = cells[1..].iter().map(|cell| Cell::parse(cell)).collect();
        assert_eq!(cells.len(), Role::ALL.len(), "{title}");
        let case = case.trim_start_matches(", ").trim().to_owned();
        Self { title: (*title).to_owned(), subject, case, cells: Role::ALL.into_iter().zip(cells).collect() }
    }

    pub(crate) fn cell(&self, role: Role) -> &Cell {
        &self.cells[&role]
    }

    pub(crate) fn is_about_a_pair(&self) -> bool {
        self.case.ends_with("in a pair")
    }
}

pub(crate) struct Table {
    pub(crate) rows: Vec<Row>,
    statuses: BTreeMap<String, u16>,
}

impl Table {
    pub(crate) fn read() -> Self {
        let mut lines = table(DOCUMENT, "### Who may do what").into_iter();
        assert_eq!(lines.next().unwrap(), COLUMNS);
        let rows: Vec<Row> = lines.map(|cells| Row::parse(&cells)).collect();
        assert!(rows.len() > 40, "the table was not found");
        let statuses = table(DOCUMENT, "### Errors").into_iter().skip(1).flat_map(|cells| {
            let status: u16 = cells[0].parse().expect("one status in a row");
            let codes = cells[1].split(", ").map(|code| code.trim_matches('`').to_owned());
            codes.map(move |code| (code, status)).collect::<Vec<_>>()
        });
        Self { rows, statuses: statuses.collect() }
    }

    /// The status with which a code is answered over HTTP.
    pub(crate) fn status(&self, code: &str) -> u16 {
        *self.statuses.get(code).unwrap_or_else(|| panic!("the table of errors does not have {code}"))
    }
}
