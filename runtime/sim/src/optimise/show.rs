//! What a search found, as a section of a report.

use super::{Better, Cheapest, Found, Node, RISK_ALPHA, Setup, words};
use crate::report::{Axis, Figure, Line, Of, Parameter, Point, Section, Table, Verdict, number};

/// The section: what each bound costs against the share of hostile providers, what the cheapest levels are, and where the node's
/// own stand.
pub fn section(found: &Found, setup: &Setup) -> Section {
    Section {
        id: "optimise".to_owned(),
        title: "The cheapest level of checks".to_owned(),
        question: "How much must be checked so that no more than so many outputs of 10,000 are wrong, whatever the hostile \
                   providers do of what is tried here, and is any level cheaper than the node's own that is seen to let no more through?"
            .to_owned(),
        figures: vec![costs(found, setup), node_damage(found)],
        tables: vec![cheapest(found), node(found)],
        parameters: parameters(setup),
        verdicts: verdicts(found),
        notes: notes(found, setup),
    }
}

fn axis(label: &str) -> Axis {
    Axis { label: label.to_owned(), ..Axis::default() }
}

const ALPHA: &str = "share of hostile providers";

fn costs(found: &Found, setup: &Setup) -> Figure {
    let line = |bound: &f64| {
        let of = found.cheapest.iter().filter(|c| c.bound == *bound && c.level.is_some());
        Line {
            name: format!("at most {} wrong of 10,000", number(*bound)),
            points: of.map(|c| Point { x: c.alpha, y: c.cost, low: None, high: None }).collect(),
        }
    };
    Figure {
        id: "optimise-cost".to_owned(),
        title: "What the cheapest level costs that keeps within a bound".to_owned(),
        x: axis(ALPHA),
        y: axis("extra fuel, of the useful fuel"),
        lines: setup.bounds.iter().map(line).collect(),
    }
}

fn node_damage(found: &Found) -> Figure {
    let line = |name: &str| {
        let of = found.node.iter().filter(|node| node.name == name);
        let point = |n: &Node| Point {
            x: n.alpha,
            y: n.damage.mean,
            low: Some(n.damage.low),
            high: Some(n.damage.high),
        };
        Line { name: name.to_owned(), points: of.map(point).collect() }
    };
    Figure {
        id: "optimise-node".to_owned(),
        title: "What the node's own levels let through, by the worst conduct".to_owned(),
        x: axis(ALPHA),
        y: Axis { log: true, ..axis("wrong outputs of 10,000") },
        lines: ["low", "medium", "high"].map(line).into(),
    }
}

fn percent(share: f64) -> String {
    format!("{:.1} %", share * 100.0)
}

fn cheapest(found: &Found) -> Table {
    let row = |c: &Cheapest| {
        let mut row = vec![c.alpha.to_string(), number(c.bound)];
        match &c.level {
            Some(level) => row.extend([
                words(level),
                format!("{:.2}", c.damage.mean),
                format!("{:.2}", c.damage.high),
                percent(c.cost),
                percent(c.failed),
            ]),
            None => row.push("none was shown to keep within it".to_owned()),
        }
        row
    };
    let head = ["α", "bound", "the cheapest level", "wrong of 10,000", "at most", "extra fuel", "no answer"];
    Table {
        title: "The cheapest level for each bound".to_owned(),
        head: head.map(str::to_owned).into(),
        rows: found.cheapest.iter().map(row).collect(),
    }
}

fn node(found: &Found) -> Table {
    let row = |node: &Node| {
        vec![
            node.alpha.to_string(),
            node.name.to_owned(),
            format!("{:.2}", node.damage.mean),
            format!("{:.2}", node.damage.high),
            percent(node.cost),
            percent(node.failed),
            match &node.better {
                Some(Better { level, cost, told_apart: true, .. }) => {
                    format!("{}: {}", percent(*cost), words(level))
                }
                Some(Better { level, cost, .. }) => format!("{}: {}; {UNTOLD}", percent(*cost), words(level)),
                None => "none of those tried".to_owned(),
            },
        ]
    };
    let head = [
        "α",
        "level",
        "wrong of 10,000",
        "at most",
        "extra fuel",
        "no answer",
        "cheaper, and no more seen to be wrong",
    ];
    Table {
        title: "Where the node's own levels stand".to_owned(),
        head: head.map(str::to_owned).into(),
        rows: found.node.iter().map(row).collect(),
    }
}

/// What is said of levels of which no output was wrong.
const UNTOLD: &str = "cannot be told apart by so few outputs";

/// Whether each of the node's levels holds its own at the share the snippet is for, and whether each bound can be kept.
fn verdicts(found: &Found) -> Vec<Verdict> {
    let mut verdicts = Vec::new();
    for node in found.node.iter().filter(|node| node.alpha == RISK_ALPHA) {
        let stands = format!(
            "at α = {RISK_ALPHA} `{}` lets {:.2} of 10,000 through (at most {:.2}) for {} more fuel",
            node.name,
            node.damage.mean,
            node.damage.high,
            percent(node.cost)
        );
        verdicts.push(match &node.better {
            None => Verdict::Held(format!(
                "{stands}, and no level that was tried is a tenth cheaper and was seen to let no more through"
            )),
            Some(Better { level, cost, outputs, told_apart: true }) => Verdict::Missed(format!(
                "{stands}; as far as {} outputs against each conduct show, {} lets no more through for {}",
                number(*outputs),
                words(level),
                percent(*cost)
            )),
            Some(Better { level, cost, outputs, .. }) => Verdict::Held(format!(
                "{stands}; {} costs {}, and none of {} outputs against each conduct was wrong with either: they {UNTOLD}",
                words(level),
                percent(*cost),
                number(*outputs)
            )),
        });
    }
    verdicts
}

fn parameters(setup: &Setup) -> Vec<Parameter> {
    let list = |all: Vec<String>| all.join(", ");
    let ours = |name: &str, value: String, why: &str| Parameter {
        name: name.to_owned(),
        value,
        of: Of::Ours,
        why: why.to_owned(),
    };
    let space = &setup.space;
    let numbers = |all: &[u32]| list(all.iter().map(u32::to_string).collect());
    vec![
        ours(
            "alpha",
            list(setup.alphas.iter().map(f64::to_string).collect()),
            "what fails at one is not tried at a greater one",
        ),
        ours(
            "hostile",
            list(setup.conducts.iter().map(|(name, _)| (*name).to_owned()).collect()),
            "the worst of them decides",
        ),
        ours("canaries", numbers(&space.canaries), "the grid"),
        ours("replay_one_in", numbers(&space.replay_one_in), "the grid"),
        ours("before", list(space.before.iter().map(bool::to_string).collect()), "the grid"),
        ours(
            "probation",
            numbers(&space.probation),
            "the grid; of one capability 4 of them at most, as in `medium`",
        ),
        ours("replicas", numbers(&space.replicas), "the grid"),
        ours("peers", setup.params.peers.to_string(), "few, so that requesters come to know all of them"),
        ours("requesters", setup.params.requesters.to_string(), "they learn from one another's fraud proofs"),
        ours(
            "workflows_per_hour",
            setup.params.workflows_per_hour.to_string(),
            "of each requester, for an hour; a workflow is one pure action",
        ),
        ours(
            "seeds",
            setup.seeds.to_string(),
            "at most; one is enough where a level is far off, three where it is far within",
        ),
    ]
}

fn notes(found: &Found, setup: &Setup) -> Vec<String> {
    let mut notes = vec![
        format!(
            "{} levels, {} runs at {} shares; {} times a level was tried at a share. What checks no more in anything than a \
             level that fails is taken to fail, and what checks no less than one that keeps within a bound, or costs more than \
             the best against all conducts, to cost more.",
            number(found.levels as f64),
            number(found.runs as f64),
            setup.alphas.len(),
            number(found.tried as f64),
        ),
        "`at most` is what one level, by one conduct and in runs that nobody chose, exceeds one time in twenty: by Wilson over all \
         outputs, or by Student over runs where that is more. A bound counts as kept where it is no more, with three seeds or all."
            .to_owned(),
        "It says less than that here. A row shows the greatest of what the conducts came to: where they are alike, `wrong of \
         10,000` is that of the unluckiest and lies too high. And the cheapest level is chosen among many by the same runs that are \
         shown: one that was merely lucky is the likelier to be chosen, so that its `at most` lies too low and is exceeded more \
         often than one time in twenty. Who relies on a level should try it again with other seeds."
            .to_owned(),
        format!(
            "Levels of which no output was wrong have the same `at most`, which so many outputs leave to whatever is never seen to \
             fail: they {UNTOLD}, and the cheaper one is not shown to be as safe."
        ),
        format!(
            "`risk.toml` has the levels for α = {RISK_ALPHA}, as a node's `config.toml` takes them. They are the cheapest for \
             requesters that know nobody at first and are done after an hour; who goes on for longer pays less for probation.",
        ),
    ];
    if found.cut {
        notes.push(format!(
            "The search came to its share of {} runs before it was over: there may be cheaper levels.",
            number(setup.most_runs as f64)
        ));
    }
    notes
}
