//! Statements that would not end well are refused by their tokens, before there is a tree to walk.
//!
//! sqlparser bounds what it reads by recursion; a chain (`a + a + ...`, `x::int::int ...`, `SELECT ... UNION ...`) it reads
//! in a loop, and the tree is as deep as the chain is long: whoever walks it, or drops it, needs stack for every link, and
//! DataFusion takes time that grows with the square. Subqueries in expressions cost it a constant factor a level. Chains of
//! AND and OR are no trouble: [`balance`] makes flat trees of them.

use std::ops::ControlFlow;

use datafusion::sql::parser::Statement as Syntax;
use datafusion::sql::sqlparser::ast::{BinaryOperator, Expr, VisitorMut};
use datafusion::sql::sqlparser::keywords::Keyword;
use datafusion::sql::sqlparser::tokenizer::{Token, TokenWithSpan};

use super::{keyword, significant};
use crate::limits::{LayeredLimits, Limit};
use crate::sql::walk::walk;
use crate::{Error, ErrorKind, Result};

/// Links of a chain of AND or OR from which it is made flat.
const LONG_CHAIN: usize = 64;

/// What is open at a place in a statement: one a parenthesis.
#[derive(Debug, Default)]
struct Open {
    /// Operators since the last place at which an expression begins.
    operators: u64,
    /// UNION, EXCEPT and INTERSECT.
    set_operators: u64,
    /// Whether it adds to the depth of subqueries.
    is_subquery: bool,
}

/// # Errors
/// `Exhausted`, with the limit, for a statement of too many tokens, too long chains or too deep subqueries.
pub(super) fn refuse_what_is_too_much(tokens: &[TokenWithSpan], limits: &LayeredLimits) -> Result<()> {
    let check = |limit: Limit, count: u64, what: &str| match limits.limit(limit) {
        Some(most) if count > most => {
            Err(Error::new(ErrorKind::Exhausted, format!("the statement has {what}, more than {limit} = {most}")))
        }
        _ => Ok(()),
    };
    check(Limit::Tokens, tokens.len() as u64, &format!("{} tokens", tokens.len()))?;
    let mut open = vec![Open::default()];
    let mut subqueries = 0;
    let (mut before_last, mut last): (Option<&Token>, Option<&Token>) = (None, None);
    for index in significant(tokens) {
        let word = keyword(&tokens[index]);
        if matches!(last, Some(Token::LParen)) && begins_expression_query(before_last, word) {
            subqueries += 1;
            open.last_mut().into_iter().for_each(|open| open.is_subquery = true);
            check(Limit::SubqueryDepth, subqueries, "subqueries in subqueries")?;
        }
        let token = &tokens[index].token;
        match token {
            Token::LParen => open.push(Open::default()),
            Token::RParen => {
                let closed = if open.len() > 1 { open.pop() } else { None };
                subqueries -= u64::from(closed.is_some_and(|closed| closed.is_subquery));
            }
            _ => {}
        }
        if let Some(open) = open.last_mut() {
            open.count(token, word);
            check(Limit::ExpressionDepth, open.operators, "operators in a row")?;
            check(Limit::ExpressionDepth, open.set_operators, "queries combined in a row")?;
        }
        before_last = last;
        last = Some(token);
    }
    Ok(())
}

/// Whether a parenthesis after `before` that begins with `word` is a subquery whose nesting costs.
fn begins_expression_query(before: Option<&Token>, word: Option<Keyword>) -> bool {
    let is_of_table = match before {
        Some(Token::Word(word)) if word.quote_style.is_none() => matches!(
            word.keyword,
            Keyword::FROM | Keyword::JOIN | Keyword::AS | Keyword::LATERAL | Keyword::MATERIALIZED
        ),
        None | Some(Token::LParen) => true,
        _ => false,
    };
    match word {
        Some(Keyword::SELECT) => !is_of_table,
        Some(Keyword::WITH) => true,
        _ => false,
    }
}

impl Open {
    fn count(&mut self, token: &Token, word: Option<Keyword>) {
        match (token, word) {
            (_, Some(Keyword::UNION | Keyword::EXCEPT | Keyword::INTERSECT)) => {
                self.set_operators += 1;
                self.operators = 0;
            }
            (_, Some(Keyword::EXPLAIN | Keyword::IS | Keyword::COLLATE | Keyword::AT | Keyword::LIKE)) => {
                self.operators += 1;
            }
            (_, Some(word)) if begins_expression(word) => self.operators = 0,
            (Token::Comma | Token::SemiColon, _) => self.operators = 0,
            (
                Token::Word(_) | Token::Number(..) | Token::LParen | Token::RParen | Token::RBracket | Token::Period,
                _,
            ) => {}
            (Token::SingleQuotedString(_) | Token::Placeholder(_) | Token::RBrace | Token::LBrace, _) => {}
            _ => self.operators += 1,
        }
    }
}

fn begins_expression(word: Keyword) -> bool {
    matches!(
        word,
        Keyword::SELECT
            | Keyword::FROM
            | Keyword::WHERE
            | Keyword::GROUP
            | Keyword::HAVING
            | Keyword::ORDER
            | Keyword::LIMIT
            | Keyword::ON
            | Keyword::AND
            | Keyword::OR
            | Keyword::WHEN
            | Keyword::THEN
            | Keyword::ELSE
            | Keyword::JOIN
            | Keyword::SET
            | Keyword::VALUES
    )
}

/// Makes flat trees of long chains of AND and of OR: both are associative, and what is evaluated first stays first.
pub(super) fn balance(syntax: &mut Syntax) {
    let _ = walk(syntax, &mut Balance);
}

struct Balance;

impl VisitorMut for Balance {
    type Break = ();

    fn pre_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        if let Expr::BinaryOp { op: op @ (BinaryOperator::And | BinaryOperator::Or), .. } = expr {
            let op = op.clone();
            if links(expr, &op) > LONG_CHAIN {
                let whole = std::mem::replace(expr, Expr::Identifier("".into()));
                *expr = flat(operands(whole, &op), &op);
            }
        }
        ControlFlow::Continue(())
    }
}

/// Links of a chain, at most one more than make it long.
fn links(mut expr: &Expr, wanted: &BinaryOperator) -> usize {
    let mut links = 0;
    while let Expr::BinaryOp { left, op, .. } = expr
        && op == wanted
        && links <= LONG_CHAIN
    {
        links += 1;
        expr = left;
    }
    links
}

/// Takes a chain apart without recursion.
fn operands(mut expr: Expr, wanted: &BinaryOperator) -> Vec<Expr> {
    let mut operands = Vec::new();
    loop {
        match expr {
            Expr::BinaryOp { left, op, right } if op == *wanted => {
                operands.push(*right);
                expr = *left;
            }
            other => {
                operands.push(other);
                operands.reverse();
                return operands;
            }
        }
    }
}

fn flat(mut operands: Vec<Expr>, op: &BinaryOperator) -> Expr {
    if operands.len() <= 1 {
        return operands.pop().unwrap_or_else(|| Expr::Identifier("".into()));
    }
    let right = operands.split_off(operands.len() / 2);
    let (left, right) = (Box::new(flat(operands, op)), Box::new(flat(right, op)));
    // Printed, the tree must mean the same: a view keeps its text.
    let nested = |side: Box<Expr>| match *side {
        Expr::BinaryOp { .. } => Box::new(Expr::Nested(side)),
        _ => side,
    };
    Expr::BinaryOp { left, op: op.clone(), right: nested(right) }
}

#[cfg(test)]
mod tests {
    use super::super::samples::{planned, refusal, tokens};
    use super::*;

    fn refused(sql: &str) -> Option<String> {
        refuse_what_is_too_much(&tokens(sql), &LayeredLimits::default()).err().map(|error| error.message)
    }

    #[test]
    fn chains_have_an_end() {
        let chain = |link: &str, count: usize| format!("SELECT 1{} FROM t", link.repeat(count));
        for link in [" + 1", "::int", " IS NULL", " AT TIME ZONE 'UTC'", "[1]", " = 1"] {
            assert_eq!(refused(&chain(link, 900)), None, "{link}");
            let refused = refused(&chain(link, 1_100)).unwrap_or_else(|| panic!("{link} is not refused"));
            assert!(refused.contains("expression_depth_max = 1000"), "{refused}");
        }
        assert!(refused(&format!("SELECT 1{}", " UNION ALL SELECT 1".repeat(1_100))).is_some());
        assert!(refused(&"EXPLAIN ".repeat(1_100)).is_some());
        // What is long and not deep.
        assert_eq!(refused(&format!("VALUES (1){}", ", (1 + 2 - 3)".repeat(10_000))), None);
        assert_eq!(refused(&format!("SELECT 1 WHERE a = 1{}", " OR a = 1 AND b <> -2".repeat(10_000))), None);
    }

    #[test]
    fn subqueries_in_expressions_have_a_depth() {
        let nested = |open: &str, depth: usize| format!("SELECT {}1{}", open.repeat(depth), ")".repeat(depth));
        assert_eq!(refused(&nested("1 + (SELECT ", 12)), None);
        assert!(refused(&nested("1 + (SELECT ", 20)).unwrap().contains("subquery_depth_max"));
        assert!(refused(&nested("EXISTS (SELECT 1 WHERE ", 20)).is_some());
        assert!(refused(&format!("{}SELECT 1{}", "WITH a AS (".repeat(20), ") SELECT 1".repeat(20))).is_some());
        // Queries in FROM are cheap; and depth is not number.
        assert_eq!(refused(&format!("{}t{}", "SELECT * FROM (".repeat(40), ")".repeat(40))), None);
        assert_eq!(refused(&format!("SELECT 1{}", ", (SELECT 1)".repeat(100))), None);
    }

    #[test]
    fn long_chains_of_and_and_or_become_flat() {
        let terms: Vec<_> = (0..100_000).map(|n| format!("a = {n}")).collect();
        let sql = format!("SELECT 1 FROM t WHERE {}", terms.join(" OR "));
        let text = planned(&sql).to_string();
        assert_eq!(text.replace(['(', ')'], ""), sql);
        let short = "SELECT 1 FROM t WHERE a = 1 OR b = 2 AND c = 3 OR d = 4";
        assert_eq!(planned(short).to_string(), short);
        assert!(refusal(&format!("SELECT 1{}", " + 1".repeat(50_000))).contains("operators in a row"));
    }
}
