//! A provider that lies: it executes honestly, changes the result, and signs the receipt all the same.

use actum_model::{Action, BlobId, Outcome, Value, WitType, value};
use actum_node::provider::{ExecuteError, Execution, Executor, Honest, Loaded, Sandbox, Surroundings};

/// Adds to the first number of every result.
#[derive(Debug)]
pub(in crate::commands) struct Liar;

impl Executor for Liar {
    fn execute(
        &self,
        sandbox: &Sandbox,
        loaded: &Loaded,
        action: &Action,
        args: &[u8],
        around: &Surroundings,
    ) -> Result<Execution, ExecuteError> {
        let mut execution = Honest.execute(sandbox, loaded, action, args, around)?;
        let ty =
            loaded.functions().iter().find(|f| f.name == action.function).and_then(|f| f.result.as_ref());
        if let (Some(ty), Some(output), Outcome::Ok(_)) = (ty, &execution.output, &execution.outcome)
            && let Some(forged) = forge(ty, output)
        {
            execution.outcome = Outcome::Ok(BlobId::of(&forged));
            execution.output = Some(forged);
        }
        Ok(execution)
    }
}

fn forge(ty: &WitType, output: &[u8]) -> Option<Vec<u8>> {
    let mut value = value::decode_result(Some(ty), output, output.len()).ok()??;
    change_first_number(&mut value).then(|| value::encode_result(Some(ty), Some(&value)).ok())?
}

fn change_first_number(value: &mut Value) -> bool {
    match value {
        Value::U64(n) => {
            *n += 100;
            true
        }
        Value::U32(n) => {
            *n += 100;
            true
        }
        Value::Record(items) | Value::List(items) | Value::Tuple(items) => {
            items.iter_mut().any(change_first_number)
        }
        Value::Option(Some(inner)) => change_first_number(inner),
        Value::Result(Ok(Some(inner))) => change_first_number(inner),
        _ => false,
    }
}
