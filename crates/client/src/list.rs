//! A list of a JSON document, item by item: of a thousand, one is in memory beside the text.

use crate::error::Result;
use serde::de::{DeserializeOwned, Deserializer as _, SeqAccess, Visitor};
use std::fmt;
use std::marker::PhantomData;

/// Reads the list `text`, and gives each item to `with`.
pub fn each<T: DeserializeOwned>(text: &[u8], with: impl FnMut(T)) -> Result<()> {
    struct Items<T, F>(F, PhantomData<T>);

    impl<'de, T: DeserializeOwned, F: FnMut(T)> Visitor<'de> for Items<T, F> {
        type Value = ();

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a list")
        }

        // Some daemons write an empty list as null.
        fn visit_unit<E>(self) -> std::result::Result<(), E> {
            Ok(())
        }

        fn visit_seq<A: SeqAccess<'de>>(mut self, mut items: A) -> std::result::Result<(), A::Error> {
            while let Some(item) = items.next_element()? {
                (self.0)(item);
            }
            Ok(())
        }
    }

    let mut document = serde_json::Deserializer::from_slice(text);
    document.deserialize_any(Items(with, PhantomData))?;
    document.end()?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::each;

    #[test]
    fn items_come_in_their_order_and_damage_is_an_error() {
        let read = |text: &str| {
            let mut seen = Vec::new();
            each(text.as_bytes(), |n: u8| seen.push(n)).map(|()| seen).ok()
        };
        assert_eq!(read(" [1, 2,3]\n"), Some(vec![1, 2, 3]));
        assert_eq!((read("[]"), read("null")), (Some(vec![]), Some(vec![])));
        for bad in ["", "[1", "[1]x", "{\"a\":1}", "[300]", "7"] {
            assert_eq!(read(bad), None, "{bad}");
        }
    }
}
