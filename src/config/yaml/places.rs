//! Where each part of a document stands: a tree like the document's own.

use std::collections::BTreeMap;
use std::rc::Rc;

use super::super::error::{KeyPath, Position, step};

/// Where each part of a document stands; empty where nothing has been read.
#[derive(Debug, Default)]
pub struct Places(Vec<Place>);

#[derive(Debug, Default)]
struct Place {
    key: Option<Position>,
    value: Position,
    /// Behind the last character, of a scalar.
    end: Option<Position>,
    /// What contains it, and the step from there; the whole document is in nothing.
    parent: Option<(NodeId, Step)>,
    items: Vec<NodeId>,
    /// By the step of [`KeyPath`].
    members: BTreeMap<Rc<str>, NodeId>,
}

/// A part of the document.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct NodeId(usize);

impl NodeId {
    pub(super) const ROOT: Self = Self(0);
}

#[derive(Clone, Debug)]
enum Step {
    Item(usize),
    Member(Rc<str>),
}

impl Places {
    /// The member `key` of a mapping: a new part of the document.
    pub(super) fn member(&mut self, parent: NodeId, key: &str) -> NodeId {
        let key: Rc<str> = Rc::from(step(key));
        let id = self.add(parent, Step::Member(Rc::clone(&key)));
        if let Some(place) = self.0.get_mut(parent.0) {
            place.members.insert(key, id);
        }
        id
    }

    /// The next element of a list: a new part of the document.
    pub(super) fn item(&mut self, parent: NodeId) -> NodeId {
        let index = self.get(parent).map_or(0, |place| place.items.len());
        let id = self.add(parent, Step::Item(index));
        if let Some(place) = self.0.get_mut(parent.0) {
            place.items.push(id);
        }
        id
    }

    fn add(&mut self, parent: NodeId, step: Step) -> NodeId {
        let id = NodeId(self.0.len());
        self.0.push(Place {
            parent: Some((parent, step)),
            ..Place::default()
        });
        id
    }

    /// Notes where a part stands; the whole document comes first.
    pub(super) fn set(
        &mut self,
        id: NodeId,
        key: Option<Position>,
        value: Position,
        end: Option<Position>,
    ) {
        if id == NodeId::ROOT && self.0.is_empty() {
            self.0.push(Place::default());
        }
        if let Some(place) = self.0.get_mut(id.0) {
            (place.key, place.value, place.end) = (key, value, end);
        }
    }

    /// The path of a part.
    pub(super) fn path(&self, id: NodeId) -> KeyPath {
        let place = |id: NodeId| self.get(id)?.parent.as_ref();
        let steps = std::iter::successors(place(id), |(parent, _)| place(*parent));
        let steps: Vec<&Step> = steps.map(|(_, step)| step).collect();
        let steps = steps.into_iter().rev();
        steps.fold(KeyPath::root(), |at, step| match step {
            Step::Item(index) => at.index(*index),
            Step::Member(step) => at.step(step),
        })
    }

    /// Where a key stands, or the nearest part of the document that contains it.
    pub fn key(&self, at: &KeyPath) -> Option<Position> {
        let (place, _) = self.nearest(at)?;
        Some(place.key.unwrap_or(place.value))
    }

    /// Where the value of a key stands, or the key of the nearest part that contains it.
    pub fn value(&self, at: &KeyPath) -> Option<Position> {
        let (place, is_itself) = self.nearest(at)?;
        match is_itself {
            true => Some(place.value),
            false => Some(place.key.unwrap_or(place.value)),
        }
    }

    /// The scalars that stand on this line, with where they start and end.
    #[cfg(not(target_family = "wasm"))]
    pub fn scalars_on(&self, line: usize) -> impl Iterator<Item = Scalar<'_>> {
        let scalars = self.0.iter().enumerate();
        scalars.filter_map(move |(id, place)| {
            let (start, end) = (place.value, place.end?);
            let is_here = (start.line..=end.line).contains(&line);
            is_here.then_some(Scalar {
                places: self,
                id: NodeId(id),
                start,
                end,
            })
        })
    }

    fn get(&self, id: NodeId) -> Option<&Place> {
        self.0.get(id.0)
    }

    /// The part at this path, or the nearest that contains it, and whether it is the part itself.
    fn nearest(&self, at: &KeyPath) -> Option<(&Place, bool)> {
        let mut place = self.get(NodeId::ROOT)?;
        for step in at.steps() {
            let item = || {
                let index = step.strip_prefix('[')?.strip_suffix(']')?;
                let index: usize = index.parse().ok()?;
                place.items.get(index).copied()
            };
            let next = place.members.get(step).copied().or_else(item);
            match next.and_then(|id| self.get(id)) {
                Some(next) => place = next,
                None => return Some((place, false)),
            }
        }
        Some((place, true))
    }
}

/// A scalar of the text.
#[derive(Clone, Copy, Debug)]
pub struct Scalar<'p> {
    places: &'p Places,
    id: NodeId,
    /// Its first character.
    pub start: Position,
    /// Behind its last character.
    pub end: Position,
}

impl Scalar<'_> {
    /// Its path.
    pub fn path(&self) -> KeyPath {
        self.places.path(self.id)
    }
}
