//! Objects that are objects: without this an array of its fields would do, too. For `#[serde(deserialize_with = "...")]`.

use std::fmt;
use std::marker::PhantomData;

use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Unexpected, Visitor};
use serde::forward_to_deserialize_any;

/// Reads a `T` from an object.
///
/// # Errors
/// When it is none, or not one of a `T`.
pub fn deserialize<'de, D: Deserializer<'de>, T: Deserialize<'de>>(from: D) -> Result<T, D::Error> {
    from.deserialize_map(Object(PhantomData))
}

/// Reads a `T` from an object; nothing from null.
///
/// # Errors
/// When it is neither, or not one of a `T`.
pub fn option<'de, D: Deserializer<'de>, T: Deserialize<'de>>(
    from: D,
) -> Result<Option<T>, D::Error> {
    let read = Option::<Body<T>>::deserialize(from)?;
    Ok(read.map(|Body(read)| read))
}

struct Object<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for Object<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<T, A::Error> {
        T::deserialize(MapAccessDeserializer::new(map))
    }
}

/// What a body is: an object, or a list where `T` is one.
#[derive(Debug)]
pub struct Body<T>(pub T);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Body<T> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_any(Either(PhantomData)).map(Self)
    }
}

struct Either<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for Either<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<T, A::Error> {
        Object(PhantomData).visit_map(map)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, list: A) -> Result<T, A::Error> {
        T::deserialize(List(list))
    }
}

/// A list, for what is one only.
struct List<A>(A);

impl<'de, A: SeqAccess<'de>> Deserializer<'de> for List<A> {
    type Error = A::Error;

    fn deserialize_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value, A::Error> {
        Err(Error::invalid_type(Unexpected::Seq, &"an object"))
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, A::Error> {
        visitor.visit_seq(self.0)
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit unit_struct newtype_struct
        tuple tuple_struct map struct enum identifier ignored_any
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(PartialEq, Debug, serde::Deserialize)]
    struct Inner {
        a: Option<u8>,
        b: Option<u8>,
    }

    #[derive(PartialEq, Debug, serde::Deserialize)]
    struct Outer {
        #[serde(deserialize_with = "deserialize")]
        inner: Inner,
        #[serde(default, deserialize_with = "option")]
        more: Option<Inner>,
    }

    #[test]
    fn arrays_are_no_objects_and_lists_are_lists() {
        let read = |text: &str| serde_json::from_str::<Body<Outer>>(text).map(|Body(read)| read);
        let inner = Inner {
            a: Some(1),
            b: None,
        };
        let more = None;
        assert_eq!(
            read(r#"{"inner": {"a": 1}}"#).unwrap(),
            Outer { inner, more }
        );
        let whole = read(r#"{"inner": {}, "more": {"b": 2}}"#).unwrap();
        assert_eq!(whole.more.unwrap().b, Some(2));
        assert!(
            read(r#"{"inner": {}, "more": null}"#)
                .unwrap()
                .more
                .is_none()
        );
        for wrong in [
            r#"{"inner": [1, 2]}"#,
            r#"{"inner": {}, "more": [1, 2]}"#,
            r#"[{"a": 1}, null]"#,
            r#"{"inner": {"a": 1, "a": 2}}"#,
            "null",
            "1",
        ] {
            assert!(read(wrong).is_err(), "{wrong}");
        }
        let list = serde_json::from_str::<Body<Vec<u8>>>("[1, 2]").unwrap();
        assert_eq!(list.0, [1, 2]);
    }
}
