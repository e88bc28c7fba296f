//! Reading policies as they come, without their IPLD in between.

use super::{MAX_STATEMENTS, Policy, Selector, Statement, count, number, sayable};
use ipld_core::ipld::Ipld;
use serde::{
    Deserialize, Deserializer,
    de::{DeserializeSeed, Error, IgnoredAny, SeqAccess, Visitor},
};
use std::fmt;

/// A list of statements at a depth, of which the policy may have `left` more.
struct Statements<'a> {
    depth: usize,
    left: &'a mut usize,
}

/// One statement at a depth.
struct One<'a> {
    depth: usize,
    left: &'a mut usize,
}

/// An operator's name, of those there are.
struct Operator(&'static str);

/// Text that is read where it lies.
struct Text<T>(fn(&str) -> Result<T, String>, &'static str);

impl<'de> Deserialize<'de> for Policy {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut left = MAX_STATEMENTS;
        let statements = Statements { depth: 1, left: &mut left }.deserialize(deserializer)?;
        Ok(Self { statements })
    }
}

impl<'de> DeserializeSeed<'de> for Statements<'_> {
    type Value = Vec<Statement>;
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for Statements<'_> {
    type Value = Vec<Statement>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of statements")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
        let mut statements = Vec::new();
        while let Some(one) = list.next_element_seed(One { depth: self.depth, left: self.left })? {
            statements.push(one);
        }
        Ok(statements)
    }
}

impl<'de> DeserializeSeed<'de> for One<'_> {
    type Value = Statement;
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for One<'_> {
    type Value = Statement;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a statement: a list of an operator and what it takes")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
        count(self.depth, self.left).map_err(A::Error::custom)?;
        let missing = |what: &str| A::Error::custom(format!("a statement without its {what}"));
        let Operator(operator) = list.next_element()?.ok_or_else(|| missing("operator"))?;
        let depth = self.depth + 1;
        let statement = match operator {
            "and" | "or" => {
                let inner = list.next_element_seed(Statements { depth, left: self.left })?;
                let inner = inner.ok_or_else(|| missing("statements"))?;
                if operator == "and" { Statement::And(inner) } else { Statement::Or(inner) }
            }
            "not" => {
                let inner = list.next_element_seed(One { depth, left: self.left })?;
                Statement::negate(inner.ok_or_else(|| missing("statement"))?)
            }
            _ => {
                let selector = Text(|t| t.parse::<Selector>().map_err(|e| e.to_string()), "a selector");
                let selector = list.next_element_seed(selector)?.ok_or_else(|| missing("selector"))?;
                match operator {
                    "all" | "any" => {
                        let inner = list.next_element_seed(One { depth, left: self.left })?;
                        let inner = inner.ok_or_else(|| missing("statement"))?;
                        if operator == "all" {
                            Statement::all(selector, inner)
                        } else {
                            Statement::any(selector, inner)
                        }
                    }
                    "like" => {
                        let pattern = list.next_element_seed(Text(|t| Ok(t.into()), "a pattern"))?;
                        Statement::Like(selector, pattern.ok_or_else(|| missing("pattern"))?)
                    }
                    _ => {
                        let value: Ipld = list.next_element()?.ok_or_else(|| missing("value"))?;
                        sayable(&value).map_err(A::Error::custom)?;
                        let compare = match operator {
                            "==" => Statement::Eq,
                            "!=" => Statement::Ne,
                            "<" => Statement::Lt,
                            "<=" => Statement::Le,
                            ">" => Statement::Gt,
                            _ => Statement::Ge,
                        };
                        if !matches!(operator, "==" | "!=") {
                            number(&value).map_err(A::Error::custom)?;
                        }
                        compare(selector, value)
                    }
                }
            }
        };
        match list.next_element::<IgnoredAny>()? {
            None => Ok(statement),
            Some(_) => Err(A::Error::custom(format!("{operator:?} with more than it takes"))),
        }
    }
}

impl<'de> Deserialize<'de> for Operator {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let known = |text: &str| {
            Ok(Self(match text {
                "==" => "==",
                "!=" => "!=",
                "<" => "<",
                "<=" => "<=",
                ">" => ">",
                ">=" => ">=",
                "like" => "like",
                "and" => "and",
                "or" => "or",
                "not" => "not",
                "all" => "all",
                "any" => "any",
                other => {
                    let shown: String = other.chars().take(80).collect();
                    return Err(format!("{shown:?} is no operator of the policy language"));
                }
            }))
        };
        Text(known, "an operator").deserialize(deserializer)
    }
}

impl<'de, T> DeserializeSeed<'de> for Text<T> {
    type Value = T;
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<T, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl<T> Visitor<'_> for Text<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.1)
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<T, E> {
        (self.0)(text).map_err(E::custom)
    }
}
