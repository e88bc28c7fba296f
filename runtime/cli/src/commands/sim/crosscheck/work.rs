//! What the requesters of a cross-check ask for: workflows of two steps, whose right answers are known by running them here.

use crate::{
    commands::sim::homes::{Published, Stage},
    error::{CliError, Kind},
};
use actum_model::{Filters, Function};
use actum_node::{
    invoke::{self, Choices},
    requester::{CallRequest, Requester},
};
use std::time::Duration;

/// The two steps: capability and function.
const STEPS: [(&str, &str); 2] = [("text-summary", "summarize"), ("text-stats", "count-words")];
/// What is summarised: pieces of these.
const TEXTS: [&str; 2] =
    [include_str!("../../../../../../LICENSE-APACHE"), include_str!("../../../../../../ARCHITECTURE.md")];
/// Bytes of each piece.
const PIECE: usize = 2_000;
/// Sentences of a summary.
const SENTENCES: u32 = 4;
/// How long one step may take.
const DEADLINE: Duration = Duration::from_secs(60);

/// How a workflow ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ended {
    /// With the right output.
    Right,
    /// With a wrong one.
    Wrong,
    /// With none.
    Failed,
}

/// A step: who is looked for, and which function is asked for.
struct Step {
    published: Published,
    function: Function,
}

/// A text, and what is true of it.
struct Task {
    text: String,
    summary: Vec<u8>,
    counts: Vec<u8>,
}

/// All that is asked for.
pub(super) struct Work {
    steps: [Step; 2],
    tasks: Vec<Task>,
}

impl Work {
    /// Publishes what is asked for, and finds out the right answers.
    pub(super) fn open(stage: &Stage) -> Result<Self, CliError> {
        let step = |(name, function): (&str, &str)| -> Result<Step, CliError> {
            let published = stage.publish(name)?;
            let function = published.release.payload().function(function)?.clone();
            Ok(Step { published, function })
        };
        let [first, second] = STEPS;
        let mut work = Self { steps: [step(first)?, step(second)?], tasks: Vec::new() };
        for text in TEXTS.into_iter().flat_map(pieces) {
            let [summarise, count] = &work.steps;
            let summary = known(stage, summarise, &first_args(&text))?;
            let counts = known(stage, count, &second_args(summarise, &summary)?)?;
            work.tasks.push(Task { text, summary, counts });
        }
        Ok(work)
    }

    /// What is published, in the order of the steps.
    pub(super) fn published(&self) -> [&Published; 2] {
        let [first, second] = &self.steps;
        [&first.published, &second.published]
    }

    /// Does one workflow, whichever a random number says, as a user's program would; says how it ended, and why where it
    /// failed.
    pub(super) async fn once(&self, requester: &Requester, draw: u64) -> (Ended, Option<String>) {
        let count = u64::try_from(self.tasks.len()).unwrap_or(u64::MAX);
        let place = draw.checked_rem(count).and_then(|n| usize::try_from(n).ok());
        let Some(task) = place.and_then(|place| self.tasks.get(place)) else {
            return (Ended::Failed, Some("there is nothing to ask for".to_owned()));
        };
        match self.steps(requester, task).await {
            Ok(true) => (Ended::Right, None),
            Ok(false) => (Ended::Wrong, None),
            Err(e) => (Ended::Failed, Some(e.words())),
        }
    }

    /// Both steps; says whether all that came was true.
    async fn steps(&self, requester: &Requester, task: &Task) -> Result<bool, CliError> {
        let [summarise, count] = &self.steps;
        let summary = delegate(requester, summarise, &first_args(&task.text)).await?;
        let counts = delegate(requester, count, &second_args(summarise, &summary)?).await?;
        Ok(summary == task.summary && counts == task.counts)
    }
}

/// Pieces of a text that begin and end between words.
fn pieces(text: &str) -> Vec<String> {
    let mut pieces = Vec::new();
    let mut piece = String::new();
    for word in text.split_whitespace() {
        piece.push_str(word);
        piece.push(' ');
        if piece.len() >= PIECE {
            pieces.push(std::mem::take(&mut piece));
        }
    }
    pieces
}

fn first_args(text: &str) -> serde_json::Value {
    serde_json::json!({ "text": text, "length": { "sentences": SENTENCES } })
}

/// The arguments of the second step: the sentences that the first one gave.
fn second_args(first: &Step, output: &[u8]) -> Result<serde_json::Value, CliError> {
    let unreadable =
        |why: String| CliError::new(Kind::Verification, format!("the first step's output: {why}"));
    let ty = first.function.result.as_ref();
    let value = actum_model::value::decode_result(ty, output, output.len());
    let value = value.map_err(|e| unreadable(e.to_string()))?;
    let json = actum_model::json::result_to_json(ty, value.as_ref());
    let sentences = json.get("ok").and_then(serde_json::Value::as_array);
    let sentences = sentences.ok_or_else(|| unreadable("there is no summary in it".to_owned()))?;
    let texts: Vec<&str> = sentences.iter().filter_map(|sentence| sentence.get("text")?.as_str()).collect();
    Ok(serde_json::json!({ "text": texts.join(" ") }))
}

fn encoded(step: &Step, args: &serde_json::Value) -> Result<Vec<u8>, CliError> {
    Ok(invoke::encode_args(&step.function, args, &mut |_| Err("no files here".to_owned()))?)
}

/// What a step gives, by running it here.
fn known(stage: &Stage, step: &Step, args: &serde_json::Value) -> Result<Vec<u8>, CliError> {
    let failed =
        |why: String| CliError::new(Kind::Internal, format!("an answer could not be found out: {why}"));
    let sandbox = stage.author().sandbox()?;
    let loaded = sandbox.load(step.published.component).map_err(|e| failed(e.to_string()))?;
    let args = encoded(step, args)?;
    let action =
        invoke::action(stage.author().did(), *loaded.id(), &step.function, &args, Choices::default());
    let done = sandbox.execute(&loaded, &action, &args).map_err(|e| failed(e.to_string()))?;
    done.output.ok_or_else(|| failed(done.outcome.to_string()))
}

/// Finds whoever does a step by what it should do, and delegates it.
async fn delegate(requester: &Requester, step: &Step, args: &serde_json::Value) -> Result<Vec<u8>, CliError> {
    let args = encoded(step, args)?;
    let intent = &step.published.release.payload().intent;
    let found = requester.candidates(intent, &Filters::default()).await?;
    let prepared = requester.prepare(&found, &step.function.name.to_string()).await?;
    let request = CallRequest { args, choices: Choices::default(), deadline: DEADLINE };
    let delegated = requester.delegate(prepared, request, None, &mut |_| {}).await?;
    let outcome = delegated.called.receipt.payload().outcome.to_string();
    delegated.called.output.ok_or_else(|| CliError::new(Kind::Guest, outcome))
}
