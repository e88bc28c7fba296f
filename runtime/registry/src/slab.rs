//! Things with small numbers that are used again.

/// Things by number. A number is free again once its thing is removed.
#[derive(Clone, Debug)]
pub(crate) struct Slab<T> {
    items: Vec<Option<T>>,
    free: Vec<u32>,
}

impl<T> Default for Slab<T> {
    fn default() -> Self {
        Self { items: Vec::new(), free: Vec::new() }
    }
}

impl<T> Slab<T> {
    pub(crate) fn insert(&mut self, item: T) -> u32 {
        if let Some(n) = self.free.pop()
            && let Some(place) = self.items.get_mut(n as usize)
        {
            *place = Some(item);
            return n;
        }
        self.items.push(Some(item));
        // Memory ends long before the numbers do.
        (self.items.len() - 1) as u32
    }

    /// Puts a thing where it was before a restart. [`Slab::settle`] afterwards.
    pub(crate) fn restore(&mut self, n: u32, item: T) {
        let n = n as usize;
        if self.items.len() <= n {
            self.items.resize_with(n + 1, || None);
        }
        if let Some(place) = self.items.get_mut(n) {
            *place = Some(item);
        }
    }

    /// Finds the free numbers, the lowest to be used first.
    pub(crate) fn settle(&mut self) {
        let free = self.items.iter().enumerate().rev().filter(|(_, item)| item.is_none());
        self.free = free.map(|(n, _)| n as u32).collect();
    }

    pub(crate) fn get(&self, n: u32) -> Option<&T> {
        self.items.get(n as usize)?.as_ref()
    }

    pub(crate) fn get_mut(&mut self, n: u32) -> Option<&mut T> {
        self.items.get_mut(n as usize)?.as_mut()
    }

    pub(crate) fn remove(&mut self, n: u32) -> Option<T> {
        let item = self.items.get_mut(n as usize)?.take()?;
        self.free.push(n);
        Some(item)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (u32, &T)> {
        self.items.iter().enumerate().filter_map(|(n, item)| Some((n as u32, item.as_ref()?)))
    }

    pub(crate) fn len(&self) -> usize {
        self.items.len() - self.free.len()
    }

    /// One more than the highest number there was.
    pub(crate) fn numbers(&self) -> u32 {
        self.items.len() as u32
    }
}
