//! What goes first when space is short: the least recently used, as little as is needed, and nothing that would give
//! nothing back.

use dhow_types::{ContainerId, Digest};
use std::collections::BTreeMap;

/// Something that may go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Candidate {
    /// What it is.
    pub(crate) what: What,
    /// When it was last used, seconds since 1970.
    pub(crate) last_used: i64,
}

/// What it is, and what it has on disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum What {
    /// An image with these layers; what others share with it stays.
    Image(Digest, Vec<Digest>),
    /// A thing with bytes of its own: a stopped container, or its log.
    Own(ContainerId, u64),
}

/// Layers on disk.
#[derive(Clone, Debug, Default)]
pub(crate) struct Layers {
    /// Their sizes.
    pub(crate) sizes: BTreeMap<Digest, u64>,
    /// How many hold on to each: images, those that are no candidates too, and running loads.
    pub(crate) holders: BTreeMap<Digest, usize>,
}

impl Layers {
    /// `layers` are held once more. An image may have the same layer twice and then holds it twice.
    pub(crate) fn hold(&mut self, layers: &[Digest]) {
        for layer in layers {
            *self.holders.entry(*layer).or_default() += 1;
        }
    }

    /// `layers` are held once less; gives the bytes of those that nobody holds now.
    pub(crate) fn let_go(&mut self, layers: &[Digest]) -> u64 {
        let mut freed = 0;
        for layer in layers {
            if let Some(count) = self.holders.get_mut(layer).filter(|count| **count > 0) {
                *count -= 1;
                if *count == 0 {
                    freed += self.sizes.get(layer).copied().unwrap_or(0);
                }
            }
        }
        freed
    }
}

/// What of `candidates` has to go to give back `need` bytes, in the order in which it goes, with the bytes each gives
/// back in that order. All of them if that is not enough, but for those that give nothing back.
pub(crate) fn choose(mut candidates: Vec<Candidate>, need: u64, mut layers: Layers) -> Vec<(Candidate, u64)> {
    // The order must be the same each time, for those who watch a dry run first.
    candidates.sort_by(|a, b| a.last_used.cmp(&b.last_used).then_with(|| key(&a.what).cmp(&key(&b.what))));
    let mut chosen = Vec::new();
    let mut freed = 0;
    for candidate in candidates {
        if freed >= need {
            break;
        }
        let bytes = match &candidate.what {
            What::Image(_, own) => layers.let_go(own),
            What::Own(_, bytes) => *bytes,
        };
        freed += bytes;
        chosen.push((candidate, bytes));
    }
    // An image whose layers others keep gives nothing back, unless the others go, too: so it is known only now who
    // would go for nothing. The most recently used are spared first.
    let mut kept = Vec::new();
    for (candidate, bytes) in chosen.into_iter().rev() {
        if bytes == 0 {
            let What::Image(_, own) = &candidate.what else { continue };
            let gives = idle(&layers, own);
            if gives == 0 || freed - gives.min(freed) >= need {
                freed -= gives.min(freed);
                layers.hold(own);
                continue;
            }
        }
        kept.push(candidate);
    }
    kept.reverse();
    // The bytes each gives back are told in the order of removal.
    for candidate in &kept {
        if let What::Image(_, own) = &candidate.what {
            layers.hold(own);
        }
    }
    kept.into_iter()
        .map(|candidate| {
            let bytes = match &candidate.what {
                What::Image(_, own) => layers.let_go(own),
                What::Own(_, bytes) => *bytes,
            };
            (candidate, bytes)
        })
        .collect()
}

/// Bytes of those of `own` that nobody holds, each once.
fn idle(layers: &Layers, own: &[Digest]) -> u64 {
    let unique: std::collections::BTreeSet<&Digest> = own.iter().collect();
    let idle = unique.into_iter().filter(|l| layers.holders.get(l).is_none_or(|count| *count == 0));
    idle.map(|l| layers.sizes.get(l).copied().unwrap_or(0)).sum()
}

fn key(what: &What) -> String {
    match what {
        What::Image(id, _) => format!("image {id}"),
        What::Own(id, _) => format!("own {id}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layer(name: char) -> Digest {
        Digest::of(name.to_string().as_bytes())
    }

    fn image(name: &str, layers: &str, last_used: i64) -> Candidate {
        let what = What::Image(Digest::of(name.as_bytes()), layers.chars().map(layer).collect());
        Candidate { what, last_used }
    }

    fn log(n: u8, bytes: u64, last_used: i64) -> Candidate {
        Candidate { what: What::Own(ContainerId::from_raw([n; 32]), bytes), last_used }
    }

    /// The chosen by their last use, which is their name here, with their bytes.
    fn chosen(candidates: &[Candidate], kept_images: &[&str], need: u64) -> Vec<(i64, u64)> {
        let mut layers = Layers::default();
        for (name, size) in [('a', 100), ('b', 20), ('c', 3)] {
            layers.sizes.insert(layer(name), size);
        }
        for candidate in candidates {
            if let What::Image(_, own) = &candidate.what {
                layers.hold(own);
            }
        }
        for kept in kept_images {
            layers.hold(&kept.chars().map(layer).collect::<Vec<_>>());
        }
        let out = choose(candidates.to_vec(), need, layers);
        out.into_iter().map(|(c, bytes)| (c.last_used, bytes)).collect()
    }

    #[test]
    fn the_least_recently_used_goes_until_it_is_enough() {
        let all = [image("x", "a", 3), image("y", "b", 1), log(1, 7, 2)];
        for (need, want) in [
            (0, vec![]),
            (1, vec![(1, 20)]),
            (20, vec![(1, 20)]),
            (21, vec![(1, 20), (2, 7)]),
            (28, vec![(1, 20), (2, 7), (3, 100)]),
            (121, vec![(1, 20), (2, 7), (3, 100)]),
            (10_000, vec![(1, 20), (2, 7), (3, 100)]),
        ] {
            assert_eq!(chosen(&all, &[], need), want, "{need}");
        }
    }

    #[test]
    fn shared_layers_count_when_the_last_image_goes() {
        let pair = [image("x", "ab", 1), image("y", "ac", 2)];
        assert_eq!(chosen(&pair, &[], 20), [(1, 20)]);
        assert_eq!(chosen(&pair, &[], 21), [(1, 20), (2, 103)]);
        // Nothing of its own: it stays while the other does, and goes with it.
        let within = [image("x", "a", 1), image("y", "ab", 2)];
        assert_eq!(chosen(&within, &[], 20), [(2, 20)]);
        assert_eq!(chosen(&within, &[], 100), [(1, 0), (2, 120)]);
    }

    #[test]
    fn what_others_hold_gives_nothing_back() {
        let one = [image("x", "ab", 1)];
        assert_eq!(chosen(&one, &["ab"], 1000), []);
        assert_eq!(chosen(&one, &["a"], 1000), [(1, 20)]);
        assert_eq!(chosen(&[log(1, 0, 1)], &[], 5), []);
        // The same layer twice in one image.
        assert_eq!(chosen(&[image("x", "aa", 1)], &[], 100), [(1, 100)]);
        assert_eq!(chosen(&[image("x", "aa", 1), image("y", "a", 2)], &[], 100), [(1, 0), (2, 100)]);
    }
}
