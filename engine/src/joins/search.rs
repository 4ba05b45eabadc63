//! Searches the cheapest order of joins. Knows numbers only, no plans.
//!
//! Up to [`EXHAUSTIVE_MAX`] inputs every tree without needless cross products is compared, by dynamic programming over
//! sets of inputs (Moerkotte and Neumann, "Analysis of two existing and one new dynamic programming algorithm for the
//! generation of optimal bushy join trees without cross products", VLDB 2006). Beyond that the two parts whose join
//! gives the fewest rows are joined next (Fegaras, "A new heuristic for optimizing large queries", DEXA 1998).

use std::collections::HashMap;

/// Inputs up to which every order is compared: 3^10 pairs of sets.
const EXHAUSTIVE_MAX: usize = 10;
/// Inputs that a set can hold.
pub(super) const INPUTS_MAX: usize = 64;

/// Inputs, a bit for each.
pub(super) type Set = u64;

/// An order of joins.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Tree {
    /// An input.
    Input(usize),
    /// A join of two parts.
    Join(Box<Tree>, Box<Tree>),
}

impl Tree {
    pub(super) fn join(left: Self, right: Self) -> Self {
        Self::Join(Box::new(left), Box::new(right))
    }

    /// Its inputs.
    pub(super) fn set(&self) -> Set {
        match self {
            Self::Input(index) => 1 << index,
            Self::Join(left, right) => left.set() | right.set(),
        }
    }
}

/// A condition between inputs.
#[derive(Debug, Clone)]
pub(super) struct Edge {
    pub(super) inputs: Set,
    /// The part of all pairs of rows for which it is true.
    pub(super) selectivity: f64,
}

/// Inputs with their rows, and the conditions between them.
#[derive(Debug, Clone)]
pub(super) struct Graph {
    pub(super) rows: Vec<f64>,
    pub(super) edges: Vec<Edge>,
}

impl Graph {
    /// Rows of the join of `set`, in whatever order it was made.
    fn rows(&self, set: Set) -> f64 {
        let inputs = self.rows.iter().enumerate().filter(|(index, _)| set & (1 << index) != 0);
        let pairs: f64 = inputs.map(|(_, rows)| rows.max(1.0)).product();
        let inside = self.edges.iter().filter(|edge| edge.inputs & !set == 0);
        (pairs * inside.map(|edge| edge.selectivity).product::<f64>()).max(1.0)
    }

    /// Rows of the join of all inputs.
    pub(super) fn rows_of_all(&self) -> f64 {
        self.rows((0..self.rows.len()).fold(0, |set, index| set | (1 << index)))
    }

    fn is_connected(&self, left: Set, right: Set) -> bool {
        let joins = |edge: &&Edge| edge.inputs & left != 0 && edge.inputs & right != 0;
        self.edges.iter().filter(joins).any(|edge| edge.inputs & !(left | right) == 0)
    }

    /// What a join adds: the rows that it gives, and those that it keeps in memory.
    fn cost_of_join(&self, left: Set, right: Set) -> f64 {
        self.rows(left | right) + self.rows(left).min(self.rows(right))
    }

    /// Rows that all joins of `tree` give and keep in memory.
    pub(super) fn cost(&self, tree: &Tree) -> f64 {
        match tree {
            Tree::Input(_) => 0.0,
            Tree::Join(left, right) => self.cost(left) + self.cost(right) + self.cost_of_join(left.set(), right.set()),
        }
    }

    /// With the smaller part on the left, which is the one that is kept in memory.
    fn joined(&self, one: Tree, other: Tree) -> Tree {
        if self.rows(one.set()) <= self.rows(other.set()) { Tree::join(one, other) } else { Tree::join(other, one) }
    }
}

/// The cheapest order that was found.
pub(super) fn best(graph: &Graph) -> Tree {
    let mut parts: Vec<Tree> = (0..graph.rows.len()).map(Tree::Input).collect();
    if parts.len() <= EXHAUSTIVE_MAX {
        parts = components(graph).into_iter().map(|component| best_of(graph, component)).collect();
    }
    while parts.len() > 1 {
        let (one, other) = cheapest_pair(graph, &parts);
        let second = parts.swap_remove(one.max(other));
        let first = parts.swap_remove(one.min(other));
        parts.push(graph.joined(first, second));
    }
    parts.pop().unwrap_or(Tree::Input(0))
}

/// Sets of inputs between which there is no condition.
fn components(graph: &Graph) -> Vec<Set> {
    let mut components: Vec<Set> = (0..graph.rows.len()).map(|index| 1 << index).collect();
    for edge in &graph.edges {
        let (touched, mut apart): (Vec<Set>, Vec<Set>) =
            components.into_iter().partition(|component| component & edge.inputs != 0);
        apart.extend(touched.into_iter().reduce(|one, other| one | other));
        components = apart;
    }
    components
}

/// Every way to split every connected set, smaller sets first.
fn best_of(graph: &Graph, component: Set) -> Tree {
    let mut known: HashMap<Set, (f64, Tree)> = HashMap::new();
    let mut subsets: Vec<Set> = subsets(component).collect();
    subsets.sort_by_key(|set| set.count_ones());
    for set in subsets {
        if set.count_ones() == 1 {
            known.insert(set, (0.0, Tree::Input(set.trailing_zeros() as usize)));
            continue;
        }
        let splits = subsets_of_half(set).filter(|left| graph.is_connected(*left, set & !left));
        let costs = splits.filter_map(|left| {
            let (one, other) = (known.get(&left)?, known.get(&(set & !left))?);
            Some((one.0 + other.0 + graph.cost_of_join(left, set & !left), left))
        });
        if let Some((cost, left)) = costs.min_by(|one, other| one.0.total_cmp(&other.0)) {
            let tree = graph.joined(known[&left].1.clone(), known[&(set & !left)].1.clone());
            known.insert(set, (cost, tree));
        }
    }
    match known.remove(&component) {
        Some((_, tree)) => tree,
        // Conditions over three inputs and more connect them, and no two.
        None => subsets_of_one(component)
            .map(Tree::Input)
            .reduce(|one, other| graph.joined(one, other))
            .unwrap_or(Tree::Input(0)),
    }
}

fn cheapest_pair(graph: &Graph, parts: &[Tree]) -> (usize, usize) {
    let pairs = (0..parts.len()).flat_map(|one| (one + 1..parts.len()).map(move |other| (one, other)));
    let weight = |(one, other): &(usize, usize)| {
        let (left, right) = (parts[*one].set(), parts[*other].set());
        (!graph.is_connected(left, right), graph.rows(left | right))
    };
    let order = |one: &(usize, usize), other: &(usize, usize)| {
        let (one, other) = (weight(one), weight(other));
        one.0.cmp(&other.0).then(one.1.total_cmp(&other.1))
    };
    pairs.min_by(order).unwrap_or((0, 0))
}

/// Every subset but the empty one.
fn subsets(of: Set) -> impl Iterator<Item = Set> {
    std::iter::successors(Some(of), move |set| Some((set - 1) & of)).take_while(|set| *set != 0)
}

/// Of each two parts that make up `of`, one.
fn subsets_of_half(of: Set) -> impl Iterator<Item = Set> {
    let lowest = of & of.wrapping_neg();
    subsets(of).filter(move |set| *set != of && set & lowest != 0)
}

fn subsets_of_one(of: Set) -> impl Iterator<Item = usize> {
    (0..INPUTS_MAX).filter(move |index| of & (1 << index) != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn edge(inputs: &[usize], selectivity: f64) -> Edge {
        Edge { inputs: inputs.iter().fold(0, |set, index| set | (1 << index)), selectivity }
    }

    /// A fact table with dimensions, one of which is filtered to a single row.
    fn star(dimensions: usize) -> Graph {
        let mut rows = vec![1e6];
        rows.extend((0..dimensions).map(|index| if index == 2 { 1.0 } else { 1000.0 }));
        let edges = (1..=dimensions).map(|index| edge(&[0, index], 1e-3)).collect();
        Graph { rows, edges }
    }

    /// All trees over `inputs`, the slow way.
    fn all(inputs: &[usize]) -> Vec<Tree> {
        if let [only] = inputs {
            return vec![Tree::Input(*only)];
        }
        let set = inputs.iter().fold(0, |set: Set, index| set | (1 << index));
        let both = |left: Set| {
            let (one, other): (Vec<usize>, Vec<usize>) = inputs.iter().partition(|index| left & (1 << **index) != 0);
            let rights = all(&other);
            all(&one).into_iter().flat_map(move |left| {
                rights.clone().into_iter().map(move |right| Tree::join(left.clone(), right)).collect::<Vec<_>>()
            })
        };
        subsets_of_half(set).flat_map(both).collect()
    }

    #[test]
    fn the_filtered_dimension_is_joined_first() {
        for dimensions in [3, 20] {
            let graph = star(dimensions);
            let mut tree = best(&graph);
            while let Tree::Join(left, right) = tree {
                tree = if left.set() & 1 != 0 { *left } else { *right };
                if tree.set().count_ones() == 2 {
                    break;
                }
            }
            assert_eq!(tree.set(), 0b1001, "{dimensions} dimensions");
        }
    }

    #[test]
    fn no_tree_is_cheaper_than_the_one_that_was_found() {
        let chains: [[f64; 5]; 3] =
            [[10.0, 1e5, 30.0, 1e6, 7.0], [1e6, 10.0, 1e3, 1e2, 1e5], [5.0, 5.0, 1e4, 1e4, 5.0]];
        for rows in chains {
            let edges = (0..4).map(|index| edge(&[index, index + 1], 1.0 / rows[index].max(rows[index + 1]))).collect();
            let graph = Graph { rows: rows.to_vec(), edges };
            let connected = |tree: &&Tree| is_connected_throughout(&graph, tree);
            let trees = all(&[0, 1, 2, 3, 4]);
            let cheapest = trees.iter().filter(connected).map(|tree| graph.cost(tree)).fold(f64::INFINITY, f64::min);
            let found = graph.cost(&best(&graph));
            assert!((found / cheapest - 1.0).abs() < 1e-9, "{rows:?}: {found} and {cheapest}");
        }
    }

    fn is_connected_throughout(graph: &Graph, tree: &Tree) -> bool {
        match tree {
            Tree::Input(_) => true,
            Tree::Join(left, right) => {
                graph.is_connected(left.set(), right.set())
                    && is_connected_throughout(graph, left)
                    && is_connected_throughout(graph, right)
            }
        }
    }

    #[test]
    fn what_no_condition_joins_is_joined_last() {
        let graph = Graph { rows: vec![1e6, 10.0, 1e6, 10.0], edges: vec![edge(&[0, 2], 1e-6), edge(&[1, 3], 0.1)] };
        let Tree::Join(left, right) = best(&graph) else { panic!("four inputs") };
        let mut sets = [left.set(), right.set()];
        sets.sort_unstable();
        assert_eq!(sets, [0b0101, 0b1010]);
    }

    #[test]
    fn a_condition_over_three_inputs_joins_them() {
        let graph = Graph { rows: vec![5.0, 10.0, 20.0], edges: vec![edge(&[0, 1, 2], 0.01)] };
        assert_eq!(best(&graph).set(), 0b111);
    }
}
