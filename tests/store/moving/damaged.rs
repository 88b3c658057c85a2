//! Exports that are not right: refused in words, and nothing is imported.

use std::sync::Arc;

use scim_operator::transfer::import;

use super::{Place, file, lines, quiet};
use crate::fixture::Tenant;

/// Each byte that is another is found, and so is each byte that is missing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn damaged_export_is_refused_and_nothing_is_imported() {
    let here = Place::folder();
    let store = here.store();
    let acme = Tenant::on(Arc::clone(&store), "identity/acme");
    let ann = acme.named("ann").await;
    acme.group("Staff", &[&ann]).await;
    store.close().await;
    let bytes = here.bytes().await;
    let place = Place::folder();
    let mut importer = place.importer().await;
    for index in 0..bytes.len() {
        let mut damaged = bytes.clone();
        damaged[index] ^= 1;
        let done = import(&mut *importer, &file(&damaged), &[], &mut quiet()).await;
        assert!(done.is_err(), "byte {index} was changed and nobody saw it");
        let done = import(&mut *importer, &file(&bytes[..index]), &[], &mut quiet()).await;
        assert!(done.is_err(), "cut after {index} bytes and nobody saw it");
    }
    drop(importer);
    place.holds_nothing().await;
    place.import(&bytes).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_wrong_with_an_export_is_said_in_words() {
    let here = Place::folder();
    let store = here.store();
    Tenant::on(Arc::clone(&store), "identity/acme").named("ann").await;
    store.close().await;
    let bytes = here.bytes().await;
    let place = Place::folder();
    let mut importer = place.importer().await;
    let mut said = async |bytes: &[u8]| {
        import(&mut *importer, &file(bytes), &[], &mut quiet()).await.unwrap_err().to_string()
    };
    let lines = lines(&bytes);
    let without = |index: usize| {
        let kept = lines.iter().enumerate().filter(|(at, _)| *at != index).map(|(_, line)| *line);
        kept.collect::<Vec<_>>().join("\n") + "\n"
    };
    insta::assert_snapshot!(said(b"").await, @"it is no export of scim-operator: line 1 is not there");
    insta::assert_snapshot!(said(b"PK\x03\x04\n").await, @"it is no export of scim-operator: line 1 does not say so");
    let newer = without(0);
    let newer = format!("{{\"scimOperatorExport\":{{\"version\":2}}}}\n{newer}");
    insta::assert_snapshot!(said(newer.as_bytes()).await, @"it has version 2 of the format, and this scim-operator reads versions up to 1: import it with the version that wrote it, or a newer one");
    let cut = lines[..3].join("\n") + "\n";
    insta::assert_snapshot!(said(cut.as_bytes()).await, @"it is cut off: it ends after line 3, before the end of a tenant; copy it again, or export again");
    let no_end = lines[..lines.len() - 1].join("\n") + "\n";
    insta::assert_snapshot!(said(no_end.as_bytes()).await, @"it is cut off: it ends after line 6, before its end; copy it again, or export again");
    insta::assert_snapshot!(said(without(2).as_bytes()).await, @"it is damaged: line 4: the digest of the 2 lines before it is another; copy it again, or export again");
    let other = String::from_utf8(bytes.clone()).unwrap().replace("\"ann\"", "\"eve\"");
    insta::assert_snapshot!(said(other.as_bytes()).await, @"it is damaged: line 5: the digest of the 3 lines before it is another; copy it again, or export again");
    let typo = String::from_utf8(bytes.clone())
        .unwrap()
        .replace("\"version\":1,\"created\"", "\"versoin\":1,\"created\"");
    insta::assert_snapshot!(said(typo.as_bytes()).await, @"it is damaged: line 3: column 80: unknown field `versoin`, expected one of `type`, `id`, `version`, `created`, `lastModified`, `body`; copy it again, or export again");
    let twice = [&bytes[..], b"{}\n"].concat();
    insta::assert_snapshot!(said(&twice).await, @"it is damaged: line 8: there is something after the end; copy it again, or export again");
    drop(importer);
    place.holds_nothing().await;
}
