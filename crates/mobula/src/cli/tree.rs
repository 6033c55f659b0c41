//! Forests drawn with lines, as findmnt(8) draws mounts.

/// Deeper than this, branches are no longer indented: stacks of thousands of mounts must stay cheap.
const DEEPEST: usize = 40;

/// The nodes in the order in which they are drawn, each with the lines before it. `parents[n]` is
/// the parent of node n; siblings keep the order of their numbers. Nodes in a circle are left out.
pub(crate) fn draw(parents: &[Option<usize>]) -> Vec<(usize, String)> {
    let mut children = vec![Vec::new(); parents.len()];
    let mut roots = Vec::new();
    for (node, parent) in parents.iter().enumerate() {
        match parent {
            Some(parent) => children[*parent].push(node),
            None => roots.push(node),
        }
    }
    let mut drawn = Vec::with_capacity(parents.len());
    let mut open: Vec<Branch> = roots.into_iter().rev().map(Branch::root).collect();
    while let Some(branch) = open.pop() {
        let below = &children[branch.node];
        let last = below.last().copied();
        open.extend(below.iter().rev().map(|child| branch.child(*child, last == Some(*child))));
        drawn.push((branch.node, branch.lines));
    }
    drawn
}

struct Branch {
    node: usize,
    depth: usize,
    /// What stands before the node itself, and before what is below it.
    lines: String,
    below: String,
}

impl Branch {
    fn root(node: usize) -> Self {
        Self { node, depth: 0, lines: String::new(), below: String::new() }
    }

    fn child(&self, node: usize, is_last: bool) -> Self {
        let (corner, bar) = if is_last { ("└─", "  ") } else { ("├─", "│ ") };
        let below =
            if self.depth < DEEPEST { format!("{}{bar}", self.below) } else { self.below.clone() };
        Self { node, depth: self.depth + 1, lines: format!("{}{corner}", self.below), below }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn branches_look_like_those_of_findmnt() {
        let parents = [None, Some(0), Some(1), Some(1), Some(0), Some(4), None];
        let text: Vec<String> =
            draw(&parents).into_iter().map(|(node, lines)| format!("{lines}{node}")).collect();
        assert_eq!(text, ["0", "├─1", "│ ├─2", "│ └─3", "└─4", "  └─5", "6"]);
    }

    #[test]
    fn a_circle_ends() {
        assert!(draw(&[Some(1), Some(0)]).is_empty());
    }

    #[test]
    fn a_deep_stack_stays_small() {
        let parents: Vec<_> = (0..10_000_usize).map(|node| node.checked_sub(1)).collect();
        let drawn = draw(&parents);
        assert_eq!(drawn.len(), 10_000);
        assert!(drawn.iter().all(|(_, lines)| lines.len() < 200));
    }
}
