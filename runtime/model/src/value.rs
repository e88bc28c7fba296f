//! WIT values and their one canonical encoding.

/// A WIT value. Which type it belongs to is known from the function, never from the value alone.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// `bool`
    Bool(bool),
    /// `s8`
    S8(i8),
    /// `u8`
    U8(u8),
    /// `s16`
    S16(i16),
    /// `u16`
    U16(u16),
    /// `s32`
    S32(i32),
    /// `u32`
    U32(u32),
    /// `s64`
    S64(i64),
    /// `u64`
    U64(u64),
    /// `f32`
    F32(f32),
    /// `f64`
    F64(f64),
    /// `char`
    Char(char),
    /// `string`
    String(String),
    /// `list<u8>`, always in this form
    Bytes(Vec<u8>),
    /// any other `list<T>`
    List(Vec<Value>),
    /// `record`: the fields' values in the order of the type
    Record(Vec<Value>),
    /// `tuple`
    Tuple(Vec<Value>),
    /// `variant`: the case's index in the type, and its payload
    Variant(u32, Option<Box<Value>>),
    /// `enum`: the case's index in the type
    Enum(u32),
    /// `option<T>`
    Option(Option<Box<Value>>),
    /// `result<ok, err>`
    Result(Result<Option<Box<Value>>, Option<Box<Value>>>),
    /// `flags`: bit i is set when flag i is
    Flags(u32),
}
