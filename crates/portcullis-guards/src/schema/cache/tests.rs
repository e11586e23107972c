use super::*;

fn text(of: &str) -> Bytes {
    Bytes::copy_from_slice(of.as_bytes())
}

#[test]
fn one_text_is_compiled_once_at_whatever_address_it_comes_again() {
    let cache = Cache::default();
    let first_text = text(r#"{"type":"object"}"#);
    let first = cache.compiled(&first_text).unwrap();
    assert!(Arc::ptr_eq(&first, &cache.compiled(&first_text).unwrap()));
    assert!(Arc::ptr_eq(&first, &cache.compiled(&text(r#"{"type":"object"}"#)).unwrap()));
    assert!(!Arc::ptr_eq(&first, &cache.compiled(&text(r#"{"type":"array"}"#)).unwrap()));
}

#[test]
fn callers_that_come_at_the_same_time_share_one_compilation() {
    let cache = Cache::default();
    let text = text(r#"{"type":"object"}"#);
    let barrier = std::sync::Barrier::new(8);
    let all: Vec<_> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..8)
            .map(|_| {
                scope.spawn(|| {
                    barrier.wait();
                    cache.compiled(&text).unwrap()
                })
            })
            .collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    assert!(all.windows(2).all(|pair| Arc::ptr_eq(&pair[0], &pair[1])));
}

#[test]
fn a_refusal_is_remembered_too() {
    let cache = Cache::default();
    let bad = text("[]");
    assert!(cache.compiled(&bad).is_err());
    assert!(cache.compiled(&bad).is_err());
    assert_eq!(cache.kept.read().unwrap().slots.len(), 1);
}

#[test]
fn the_oldest_go_first_when_there_are_too_many() {
    let cache = Cache::default();
    let texts: Vec<_> = (0..ENTRIES + 10).map(|n| text(&format!("{{\"maximum\":{n}}}"))).collect();
    for text in &texts {
        let key = (text.as_ptr().addr(), text.len());
        cache.kept.write().unwrap().slot(key, text);
    }
    let kept = cache.kept.read().unwrap();
    assert_eq!((kept.slots.len(), kept.order.len()), (ENTRIES, ENTRIES));
    assert_eq!(kept.text_bytes, kept.slots.values().map(|(text, _)| text.len()).sum::<usize>());
    let has = |text: &Bytes| kept.slots.contains_key(&(text.as_ptr().addr(), text.len()));
    assert!(!has(&texts[0]) && has(texts.last().unwrap()));
}

#[test]
fn much_text_is_not_kept_either() {
    let cache = Cache::default();
    let texts: Vec<_> = (0..40).map(|n| text(&format!("{n}{}", " ".repeat(1 << 20)))).collect();
    for text in &texts {
        cache.kept.write().unwrap().slot((text.as_ptr().addr(), text.len()), text);
    }
    assert!(cache.kept.read().unwrap().text_bytes <= TEXT_BYTES);
}
