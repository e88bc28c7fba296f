//! What plans say, and what is refused in them and where.

use super::*;
use actum_model::flow::MAX_STEPS;
use serde_json::json;

const GOOD: &str = r#"
name = "reading"

[input]
text = "to be"
top = 3

[[step]]
name = "page"
call = "markdown"
function = "render"
args = { markdown = "{{steps.summary.output.ok[0].text}}" }

[[step]]
name = "summary"
call = "summarize a text"
function = "summarize"
args = { length = { sentences = "{{input.top}}" }, text = "{{input.text}}" }
risk = "high"

[[step]]
name = "last"
call = "digest"
function = "sha256"
args = ["{{steps.page.output | bytes}}"]
after = ["summary"]
fuel = 5
"#;

fn parse(text: &str) -> Result<Flow, PlanError> {
    Flow::parse(text, BTreeMap::new())
}

/// The good plan with one thing changed.
fn with(from: &str, to: &str) -> String {
    assert!(GOOD.contains(from), "{from}");
    let text = GOOD.replacen(from, to, 1);
    match parse(&text) {
        Ok(_) => panic!("taken: {text}"),
        Err(e) => e.to_string(),
    }
}

#[test]
fn the_order_and_the_wires_are_those_of_the_references() {
    let flow = parse(GOOD).expect("a plan");
    assert_eq!(flow.order(), [1, 0, 2]);
    assert_eq!(flow.needs(2).collect::<Vec<_>>(), ["page", "summary"]);
    let feed = |into: &str, step: &str| Feed { into: into.to_owned(), step: step.to_owned() };
    assert_eq!(flow.fed(0), [feed("args.markdown", "summary")]);
    assert_eq!(flow.fed(2), [feed("args[0]", "page")]);
    assert!(flow.fed(1).is_empty());
    let summary = &flow.steps()[1];
    let args = flow.args(summary, &BTreeMap::new()).expect("arguments");
    assert_eq!(args, json!({"length": {"sentences": 3}, "text": "to be"}));
    assert_eq!(summary.deadline_seconds(), 120);
}

#[test]
fn layout_makes_no_other_flow_and_what_is_said_does() {
    let flow = parse(GOOD).expect("a plan");
    let same = GOOD.replace("top = 3\n", "# how much\ntop =    3\n").replace("\n[[step]]", "\n\n[[step]]");
    assert_eq!(parse(&same).expect("the same plan").id(), flow.id());
    assert_ne!(parse(&GOOD.replace("fuel = 5", "fuel = 6")).expect("a plan").id(), flow.id());
    let given = BTreeMap::from([("top".to_owned(), json!(1))]);
    let other = Flow::parse(GOOD, given).expect("a plan");
    assert_ne!(other.id(), flow.id());
    assert_eq!(other.plan_bytes(), flow.plan_bytes());
    assert_eq!(other.inputs()["top"], json!(1));
}

#[test]
fn the_canonical_form_reads_back_and_no_other_does() {
    let given = BTreeMap::from([("text".to_owned(), json!({"b": 1, "a": [null, 1.5, "é"]}))]);
    let flow = Flow::parse(GOOD, given).expect("a plan");
    let (plan, inputs) = (flow.plan_bytes().to_vec(), flow.input_bytes().to_vec());
    let read = Flow::from_canonical(&plan, &inputs).expect("it reads back");
    assert_eq!((read.id(), read.plan()), (flow.id(), flow.plan()));
    let refused = |plan: &[u8], inputs: &[u8]| Flow::from_canonical(plan, inputs).is_err();
    let spaced = String::from_utf8(plan.clone()).expect("text").replacen(':', ": ", 1);
    assert!(refused(spaced.as_bytes(), &inputs));
    assert!(refused(&plan, b"{\"text\":\"to be\",  \"top\":3}"));
    assert!(refused(&plan, b"{\"top\":3,\"text\":\"to be\"}"));
    assert!(refused(&plan, b"{\"text\":\"to be\"}"), "an input is missing");
    assert!(refused(&plan, b"{\"text\":\"to be\",\"top\":3,\"x\":1}"));
    assert!(refused(&plan, b""));
    assert!(refused(b"[]", &inputs));
}

#[test]
fn what_does_not_fit_is_said_with_its_place() {
    let said = with("input.text}}", "input.txt}}");
    assert!(
        said.contains("line 14, step \"summary\", args.text")
            && said.contains("\"txt\"")
            && said.contains("text, top"),
        "{said}"
    );
    let said = with("steps.summary.output", "steps.sumary.output");
    assert!(
        said.contains("line 8, step \"page\", args.markdown")
            && said.contains("sumary")
            && said.contains("last, page, summary"),
        "{said}"
    );
    let said = with("after = [\"summary\"]", "after = [\"gone\"]");
    assert!(said.contains("step \"last\", after") && said.contains("gone"), "{said}");
    let said = with("name = \"last\"", "name = \"page\"");
    assert!(said.contains("line 21") && said.contains("a name of its own"), "{said}");
    let said = with("name = \"last\"", "name = \"La st\"");
    assert!(said.contains("no name"), "{said}");
    let said = with("{{input.text}}", "{{steps.last.output}}");
    assert!(said.contains("wait for one another"), "{said}");
    assert!(said.contains("page -> summary -> last -> page"), "{said}");
    assert!(with("{{steps.page.output | bytes}}", "{{steps.last.output}}").contains("last -> last"));
    assert!(with("top = 3", "top = 3\nspare = 1").contains("no step uses it: write {{input.spare}}"));
    assert!(with("{{input.top}}", "{{input.top").contains("args.length.sentences"));
    assert!(with("top = 3", "top = 2026-11-26").contains("no dates"));
    assert!(with("top = 3", "top = nan").contains("no null"));
    assert!(with("fuel = 5", "fuel = 0").contains("fuel: 0 units where 1 or more"));
    assert!(with("fuel = 5", "deadline_seconds = 601").contains("1 to 600"));
    assert!(with("call = \"markdown\"", "call = \" \"").contains("call: 0 bytes"));
    assert!(with("name = \"reading\"", "name = \"../x\"").contains("no name"));
}

#[test]
fn a_level_of_risk_that_nobody_has_is_refused_before_anything_is_sent() {
    let flow = parse(GOOD).expect("a plan");
    assert!(flow.check_levels(&["low", "high"]).is_ok());
    let said = flow.check_levels(&["low", "medium"]).expect_err("no such level").to_string();
    assert!(said.contains("line 14, step \"summary\", risk") && said.contains("low, medium"), "{said}");
}

#[test]
fn what_is_no_plan_is_refused_where_it_is() {
    assert!(with("fuel = 5", "feul = 5").contains("feul"));
    assert!(with("function = \"render\"\n", "").contains("function"));
    assert!(with("risk = \"high\"", "provider = \"did:key:z1\"").contains("provider"));
    assert!(with("after = [\"summary\"]", "after = [\"summary\"]\nneeds = [\"page\"]").contains("duplicate"));
    assert!(parse("name = \"x\"").expect_err("no step").to_string().contains("0 steps"));
    let steps = |n: usize| {
        let step = |i| format!("[[step]]\nname = \"s{i}\"\ncall = \"c\"\nfunction = \"f\"\n");
        format!("name = \"x\"\n{}", (0..n).map(step).collect::<String>())
    };
    assert!(parse(&steps(MAX_STEPS)).is_ok());
    assert!(parse(&steps(MAX_STEPS + 1)).expect_err("too many").to_string().contains("65 steps"));
    let long = format!("{GOOD}# {}", "x".repeat(MAX_PLAN_BYTES));
    assert!(matches!(parse(&long), Err(PlanError::TooLarge { what: "plan", .. })));
    let given = BTreeMap::from([("text".to_owned(), json!("x".repeat(MAX_INPUTS_BYTES)))]);
    assert!(matches!(Flow::parse(GOOD, given), Err(PlanError::TooLarge { what: "inputs", .. })));
    let given = BTreeMap::from([("txt".to_owned(), json!(1))]);
    assert!(Flow::parse(GOOD, given).expect_err("no such input").to_string().contains("input.txt"));
}
