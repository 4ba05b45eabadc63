//! Substrait plans to DataFusion's: in builds with the feature `substrait`.

use datafusion::execution::SessionState;
use datafusion::logical_expr::LogicalPlan;

use crate::{Error, Result};

/// Whether this build takes Substrait plans.
pub const HAS_SUBSTRAIT: bool = cfg!(feature = "substrait");

/// The plan that `bytes` encode, its tables found by `state`.
///
/// # Errors
/// `Invalid` for bytes that are no plan, for what the plan asks for and we do not have, and in a build without Substrait.
#[cfg(feature = "substrait")]
pub(crate) async fn plan_substrait(state: &SessionState, bytes: &[u8]) -> Result<LogicalPlan> {
    use std::panic::AssertUnwindSafe;

    use datafusion_substrait::logical_plan::consumer::from_substrait_plan;
    use datafusion_substrait::substrait::proto::Plan;
    use futures::FutureExt;
    use prost::Message;

    let plan = Plan::decode(bytes).map_err(|error| Error::invalid(format!("this is not a Substrait plan: {error}")))?;
    // The consumer panics where a plan leaves out what it must have (`root.input.unwrap()` in `consumer/plan.rs`).
    let planned = AssertUnwindSafe(from_substrait_plan(state, &plan)).catch_unwind().await;
    Ok(planned.map_err(|_| Error::invalid("the Substrait plan lacks a part that it must have"))??)
}

#[cfg(not(feature = "substrait"))]
pub(crate) async fn plan_substrait(_state: &SessionState, _bytes: &[u8]) -> Result<LogicalPlan> {
    Err(Error::invalid("this build takes no Substrait plans: build with --features substrait"))
}

#[cfg(all(test, feature = "substrait"))]
mod tests {
    use datafusion::prelude::SessionContext;
    use datafusion_substrait::logical_plan::producer::to_substrait_plan;
    use prost::Message;

    use super::*;

    #[tokio::test]
    async fn a_plan_comes_back_as_it_went() {
        let context = SessionContext::new();
        context.sql("CREATE TABLE t AS VALUES (1, 'a'), (2, 'b')").await.unwrap();
        let plan = context.sql("SELECT column2 AS name FROM t WHERE column1 > 1").await.unwrap();
        let plan = plan.into_optimized_plan().unwrap();
        let bytes = to_substrait_plan(&plan, &context.state()).unwrap().encode_to_vec();
        let again = plan_substrait(&context.state(), &bytes).await.unwrap();
        let rows = context.execute_logical_plan(again).await.unwrap().collect().await.unwrap();
        assert_eq!(rows.iter().map(|batch| batch.num_rows()).sum::<usize>(), 1);
        assert_eq!(rows[0].schema().field(0).name(), "name");
    }

    #[tokio::test]
    async fn a_damaged_plan_is_the_senders_fault() {
        let state = SessionContext::new().state();
        for bytes in [&b"\xff\xff"[..], &b"\x1a\x02\x12\x00"[..], &b""[..]] {
            let error = plan_substrait(&state, bytes).await.unwrap_err();
            assert_ne!(error.kind, crate::ErrorKind::Internal, "{}", error.message);
        }
    }
}
