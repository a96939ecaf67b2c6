//! Fewer steps that do it as well.

/// Leaves out as many steps as can be left out while `fails` still holds for the rest. It is asked about
/// logarithmically many large cuts, then about every single step.
pub(crate) async fn shrink<S: Clone, E>(
    mut steps: Vec<S>,
    mut fails: impl AsyncFnMut(&[S]) -> Result<bool, E>,
) -> Result<Vec<S>, E> {
    let mut size = steps.len().div_ceil(2);
    while size > 0 {
        let mut start = 0;
        let mut shorter = false;
        while start < steps.len() {
            let end = steps.len().min(start + size);
            let rest = [&steps[..start], &steps[end..]].concat();
            if !rest.is_empty() && fails(&rest).await? {
                steps = rest;
                shorter = true;
            } else {
                start = end;
            }
        }
        // What could not be left out before may be superfluous now.
        if !shorter || size > 1 {
            size /= 2;
        }
    }
    Ok(steps)
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use super::*;

    #[tokio::test]
    async fn what_matters_is_left() {
        let steps: Vec<u32> = (0..40).collect();
        let fails = async |steps: &[u32]| Ok::<_, Infallible>([7, 8, 31].iter().all(|s| steps.contains(s)));
        assert_eq!(shrink(steps, fails).await, Ok(vec![7, 8, 31]));
    }
}
