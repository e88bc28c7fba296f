//! Command programs: `wasi:cli/run` offered as a function of arguments and standard input.

use actum_model::types::{Field, ResultType};
use actum_model::{Function, FunctionName, Param, Value, WitType};

/// What a command sees as its own name.
pub(crate) const ARGV0: &str = "command";

/// Whether this export is the entry of a WASI 0.2 command.
pub(crate) fn is_run(interface: Option<&str>, name: &str) -> bool {
    name == "run" && interface.is_some_and(|i| i.starts_with("wasi:cli/run@0.2."))
}

fn field(name: &str, ty: WitType) -> Field {
    Field { name: name.to_owned(), ty }
}

/// The signature a command is offered under:
/// `(args: list<string>, stdin: list<u8>) -> result<record { stdout, stderr }, record { status, stdout, stderr }>`.
pub(crate) fn signature(name: FunctionName) -> Function {
    let streams = || [field("stdout", WitType::bytes()), field("stderr", WitType::bytes())];
    let failure = [field("status", WitType::U8)].into_iter().chain(streams()).collect();
    Function {
        name,
        docs: String::new(),
        params: vec![
            Param { name: "args".to_owned(), ty: WitType::List(Box::new(WitType::String)) },
            Param { name: "stdin".to_owned(), ty: WitType::bytes() },
        ],
        result: Some(WitType::Result(ResultType {
            ok: Some(Box::new(WitType::Record(streams().into()))),
            err: Some(Box::new(WitType::Record(failure))),
        })),
    }
}

/// What the program is given, from the decoded arguments of [`signature`].
pub(crate) fn program(values: Vec<Value>) -> Option<crate::world::Program> {
    let [Value::List(args), Value::Bytes(stdin)] = <[Value; 2]>::try_from(values).ok()? else {
        return None;
    };
    let mut argv = vec![ARGV0.to_owned()];
    for arg in args {
        let Value::String(arg) = arg else { return None };
        argv.push(arg);
    }
    Some(crate::world::Program { args: argv, stdin })
}

/// The result of a program that ended by itself with this status.
pub(crate) fn result(status: u8, written: crate::stdio::Written) -> Value {
    let streams = [Value::Bytes(written.stdout), Value::Bytes(written.stderr)];
    Value::Result(match status {
        0 => Ok(Some(Box::new(Value::Record(streams.into())))),
        _ => Err(Some(Box::new(Value::Record([Value::U8(status)].into_iter().chain(streams).collect())))),
    })
}
