//! Each rule for narinfos, keys and signatures, broken once; and each notation that Nix tolerates.

use std::cell::Cell;

use chunker::error::Detail;
use chunker::narinfo::{Fault, Fields, LineFault, MAX_SIZE, NarInfo, NarInfoError};
use chunker::{Error, ErrorCode, NEVER};

/// A narinfo as served by cache.nixos.org.
const TEXT: &str = "\
StorePath: /nix/store/00bgd045z0d4icpbc2yyz4gx48ak44la-net-tools-1.60_p20170221182432
URL: nar/1094wph9z4nwlgvsd53abfz8i117ykiv5dwnq9nnhz846s7xqd7d.nar.xz
Compression: xz
FileHash: sha256:1094wph9z4nwlgvsd53abfz8i117ykiv5dwnq9nnhz846s7xqd7d
FileSize: 114980
NarHash: sha256:0lxjvvpr59c2mdram7ympy5ay741f180kv3349hvfc3f8nrmbqf6
NarSize: 464152
References: 7gx4kiv5m0i7d7qkixq2cwzbr10lvxwc-glibc-2.27
Deriver: 10dx1q4ivjb115y3h90mipaaz533nr0d-net-tools-1.60_p20170221182432.drv
Sig: cache.nixos.org-1:sn5s/RrqEI+YG6/PjwdbPjcAC7rcta7sJU4mFOawGvJBLsWkyLtBrT2EuFt/LJjWkTZ+ZWOI9NTtjo/woMdvAg==
";

const HASH: &str = "0lxjvvpr59c2mdram7ympy5ay741f180kv3349hvfc3f8nrmbqf6";
const STORE_HASH: &str = "00bgd045z0d4icpbc2yyz4gx48ak44la";
const GLIBC: &str = "7gx4kiv5m0i7d7qkixq2cwzbr10lvxwc-glibc-2.27";

fn parse(text: &str) -> NarInfo {
    NarInfo::parse(text.as_bytes(), NEVER).unwrap()
}

/// Returns the text with another line, or none, instead of that of a field.
fn replaced(field: &str, line: &str) -> String {
    let start = if TEXT.starts_with(field) { 0 } else { TEXT.find(&format!("\n{field}: ")).unwrap() + 1 };
    let end = start + TEXT[start..].find('\n').unwrap() + 1;
    [&TEXT[..start], line, &TEXT[end..]].concat()
}

fn rejected(text: &str) -> NarInfoError {
    match NarInfo::parse(text.as_bytes(), NEVER) {
        Err(Error::NarInfo(error)) => error,
        other => panic!("{text}: {other:?}"),
    }
}

#[test]
fn a_narinfo_of_nix_is_read_and_written() {
    let narinfo = parse(TEXT);
    let line = |field: &str| {
        let line = TEXT.lines().find_map(|line| line.strip_prefix(&format!("{field}: ")));
        line.unwrap().as_bytes().to_vec()
    };
    let expected = Fields {
        store_path: line("StorePath"),
        url: line("URL"),
        compression: line("Compression"),
        file_hash: Some(line("FileHash")),
        file_size: Some(114_980),
        nar_hash: line("NarHash"),
        nar_size: Some(464_152),
        references: vec![line("References")],
        deriver: Some(line("Deriver")),
        system: None,
        ca: None,
        sigs: vec![line("Sig")],
        extra: vec![],
    };
    assert_eq!(narinfo.fields(), &expected);
    assert_eq!(String::from_utf8(narinfo.to_text()).unwrap(), TEXT);
    assert_eq!(narinfo.into_fields(), expected);
}

#[test]
fn notations_that_nix_tolerates_are_normalized() {
    let nix = parse(TEXT);
    let same = |text: &str, change: &dyn Fn(&mut Fields)| {
        let mut fields = nix.fields().clone();
        change(&mut fields);
        assert_eq!(parse(text).fields(), &fields, "{text}");
    };
    for line in ["", "Compression: \n"] {
        same(&replaced("Compression", line), &|fields| fields.compression = b"bzip2".to_vec());
    }
    for line in ["", "Deriver: unknown-deriver\n"] {
        same(&replaced("Deriver", line), &|fields| fields.deriver = None);
    }
    same(&[TEXT, "Deriver: unknown-deriver\n"].concat(), &|_| {});
    same(&[TEXT, "System: \nCA: \n"].concat(), &|_| {});
    same(&[TEXT, "System: x\n"].concat(), &|fields| fields.system = Some(b"x".to_vec()));
    let address = format!("text:sha256:{HASH}");
    same(&format!("CA: \n{TEXT}CA: {address}\n"), &|fields| fields.ca = Some(address.clone().into()));

    let other = format!("{STORE_HASH}-a");
    let both = [other.clone().into_bytes(), GLIBC.into()];
    let line = format!("References:  {GLIBC}  {other} {GLIBC} \n");
    same(&replaced("References", &line), &|fields| fields.references = both.to_vec());
    same(&replaced("References", ""), &|fields| fields.references.clear());
    // Only a line that names references counts.
    same(&["References: \n", TEXT].concat(), &|_| {});

    let sig = TEXT.lines().last().unwrap();
    same(&format!("{TEXT}URL: elsewhere\nNarSize: +0001\n{sig}\nSig: b\n"), &|fields| {
        (fields.url, fields.nar_size) = (b"elsewhere".to_vec(), Some(1));
        fields.sigs.push(b"b".to_vec());
    });
    same(&["Z: 0\n", TEXT, "A:  \nZ: :\n: \nurl: x\n"].concat(), &|fields| {
        let extra = [("Z", "0"), ("A", " "), ("Z", ":"), ("", ""), ("url", "x")];
        fields.extra = extra.map(|(field, value)| (field.into(), value.into())).to_vec();
    });

    // The same when fields are to be written.
    let mut fields = nix.fields().clone();
    fields.references = vec![GLIBC.into(), both[0].clone(), GLIBC.into()];
    fields.deriver = Some(b"unknown-deriver".to_vec());
    let written = NarInfo::new(fields, NEVER).unwrap();
    assert_eq!((&written.fields().references[..], &written.fields().deriver), (&both[..], &None));
}

#[test]
fn each_broken_line_is_reported_with_its_number() {
    for (text, line, why) in [
        ("StorePath", 1, LineFault::MissingNewline),
        (TEXT.trim_end(), 10, LineFault::MissingNewline),
        (&[TEXT, "\n"].concat(), 11, LineFault::MissingColon),
        (&["StorePath\n", TEXT].concat(), 1, LineFault::MissingColon),
        (&replaced("References", "References:\n"), 8, LineFault::MissingSpace),
        (&replaced("URL", "URL:nar/x\n"), 2, LineFault::MissingSpace),
    ] {
        let error = rejected(text);
        assert_eq!(error, NarInfoError::Line { line, why }, "{text}");
        assert_eq!(error.code(), "invalid_narinfo");
        assert_eq!(error.details(), [("line", Detail::Number(line)), ("why", Detail::Name(why.as_str()))]);
    }
}

#[test]
fn each_broken_rule_is_reported_with_its_field() {
    let long = format!("/nix/store/{STORE_HASH}-{}", "x".repeat(212));
    for (field, value, why) in [
        ("StorePath", None, Fault::Missing),
        ("StorePath", Some(""), Fault::Missing),
        ("StorePath", Some("nix/store"), Fault::NotAbsolute),
        ("StorePath", Some("/nix/store"), Fault::BadHashPart),
        ("StorePath", Some(&long), Fault::NameTooLong),
        ("URL", None, Fault::Missing),
        ("URL", Some(""), Fault::Missing),
        ("FileHash", Some(""), Fault::UnknownAlgorithm),
        ("FileHash", Some("sha256:x"), Fault::BadHash),
        ("FileSize", Some(""), Fault::NotANumber),
        ("FileSize", Some("-1"), Fault::NotANumber),
        ("FileSize", Some("18446744073709551616"), Fault::NotANumber),
        ("FileSize", Some("12 "), Fault::NotANumber),
        ("NarHash", None, Fault::Missing),
        ("NarHash", Some(HASH), Fault::UnknownAlgorithm),
        ("NarHash", Some("sha1:143xibwh31h9bvxzalr0sjvbbvpa6ffs"), Fault::NotSha256),
        ("NarSize", None, Fault::Missing),
        ("NarSize", Some("0"), Fault::Missing),
        ("NarSize", Some("0x10"), Fault::NotANumber),
        ("References", Some("x"), Fault::BadHashPart),
        ("References", Some(&format!("{GLIBC},{GLIBC}")), Fault::NameCharacter),
        ("References", Some(&format!("{GLIBC}\nReferences: {GLIBC}")), Fault::Repeated),
        ("Deriver", Some(""), Fault::BadHashPart),
        ("Deriver", Some("unknown"), Fault::BadHashPart),
        ("CA", Some(&format!("sha256:{HASH}")), Fault::UnknownMethod),
        ("CA", Some(&format!("text:sha256:{HASH}\nCA: ")), Fault::Repeated),
    ] {
        let line = value.map_or_else(String::new, |value| format!("{field}: {value}\n"));
        let text = if field == "CA" { [TEXT, &line].concat() } else { replaced(field, &line) };
        let error = rejected(&text);
        assert_eq!(error, why.of(field), "{field}: {value:?}");
        assert_eq!(error.code(), "invalid_narinfo");
        let named = ("why", Detail::Name(why.as_str()));
        assert_eq!(error.details(), [("field", Detail::Text(field.into())), named]);
    }
}

#[test]
fn no_value_injects_a_line() {
    let line = || b"x\nSig: forged:".to_vec();
    type Change<'a> = &'a dyn Fn(&mut Fields);
    let cases: [(Change<'_>, _, _); 11] = [
        (&|fields| drop(fields.store_path.splice(1..1, line())), Fault::LineBreak, "StorePath"),
        (&|fields| fields.url = line(), Fault::LineBreak, "URL"),
        (&|fields| fields.compression = line(), Fault::LineBreak, "Compression"),
        (&|fields| fields.system = Some(line()), Fault::LineBreak, "System"),
        (&|fields| fields.sigs.push(line()), Fault::LineBreak, "Sig"),
        (&|fields| fields.extra.push((b"Name".to_vec(), line())), Fault::LineBreak, "Name"),
        (&|fields| fields.extra.push((b"a\nb".to_vec(), b"x".to_vec())), Fault::NameCharacter, "a\nb"),
        (&|fields| fields.extra.push((b"a:b".to_vec(), b"x".to_vec())), Fault::NameCharacter, "a:b"),
        (&|fields| fields.extra.push((b"Sig".to_vec(), b"x".to_vec())), Fault::NameKnown, "Sig"),
        (&|fields| fields.deriver = Some(line()), Fault::BadHashPart, "Deriver"),
        (&|fields| fields.ca = Some(line()), Fault::UnknownMethod, "CA"),
    ];
    for (change, why, field) in cases {
        let mut fields = parse(TEXT).into_fields();
        change(&mut fields);
        match NarInfo::new(fields, NEVER) {
            Err(Error::NarInfo(error)) => assert_eq!(error, why.of(field)),
            other => panic!("{field}: {other:?}"),
        }
    }
}

#[test]
fn the_maximum_size_counts_every_field() {
    let filled = |size: usize| format!("{TEXT}X: {}\n", "x".repeat(size - TEXT.len() - 4));
    let limit = MAX_SIZE as usize;
    assert_eq!(filled(limit).len(), limit);
    parse(&filled(limit));
    match NarInfo::parse(filled(limit + 1).as_bytes(), NEVER) {
        Err(Error::BufferLimit { attempted, limit }) => {
            assert_eq!((attempted, limit), (MAX_SIZE + 1, MAX_SIZE))
        }
        other => panic!("{other:?}"),
    }

    let fields = || parse(TEXT).into_fields();
    let sum = |fields: &Fields| -> usize {
        let optional = [&fields.file_hash, &fields.deriver, &fields.system, &fields.ca];
        let plain = [&fields.store_path, &fields.url, &fields.compression, &fields.nar_hash];
        let lists = fields.references.iter().chain(&fields.sigs);
        plain.into_iter().chain(optional.into_iter().flatten()).chain(lists).map(Vec::len).sum()
    };
    // One field after the other has what is left, and the fields of names and values half of it each.
    type Fill<'a> = &'a dyn Fn(&mut Fields, usize);
    let cases: [Fill<'_>; 10] = [
        &|fields, left| fields.store_path.splice(0..0, b"/".repeat(left)).for_each(drop),
        &|fields, left| fields.url.resize(fields.url.len() + left, b'x'),
        &|fields, left| fields.compression.resize(fields.compression.len() + left, b'x'),
        &|fields, left| fields.file_hash.as_mut().unwrap().resize(59 + left, b'x'),
        &|fields, left| fields.nar_hash.resize(59 + left, b'x'),
        &|fields, left| fields.references.push(vec![b'x'; left]),
        &|fields, left| fields.deriver.as_mut().unwrap().extend(vec![b'x'; left]),
        &|fields, left| fields.system = Some(vec![b'x'; left]),
        &|fields, left| fields.ca = Some(vec![b'x'; left]),
        &|fields, left| fields.extra.push((vec![b'x'; left / 2], vec![b'x'; left - left / 2])),
    ];
    for (number, fill) in cases.into_iter().enumerate() {
        for (over, refused) in [(0, false), (1, true)] {
            let mut fields = fields();
            let left = limit - sum(&fields) + over;
            fill(&mut fields, left);
            let result = NarInfo::new(fields, NEVER);
            assert_eq!(matches!(result, Err(Error::BufferLimit { .. })), refused, "{number}: {over}");
        }
    }
}

#[test]
fn cancellation_is_polled_now_and_then() {
    let polls = Cell::new(0);
    let polled = || {
        polls.set(polls.get() + 1);
        false
    };
    // Once in 4096 lines, and once for the references.
    let text = [TEXT, &"a: b\n".repeat(3 * 4096)].concat();
    assert_eq!(NarInfo::parse(text.as_bytes(), &polled).unwrap().fields().extra.len(), 3 * 4096);
    assert_eq!(polls.get(), 4);
}

#[cfg(feature = "signing")]
mod signatures {
    use base64ct::{Base64, Encoding};
    use chunker::narinfo::signing::{self, PublicKey};
    use chunker::narinfo::{KeyFault, SignatureFault};

    use super::*;

    const NAME: &str = "cache.nixos.org-1";
    const KEY: &str = "cache.nixos.org-1:6NCHdD59X431o0gWypbMrAURkbJ16ZPMQFGspcDShjY=";
    /// The first vector of RFC 8032.
    const SECRET: &str =
        "test-1:nWGxne/9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2DXWpgBgrEKt9VL/tPJZAc6DuFy89qmIyWvAhpo9wdRGg==";

    fn with_sigs(sigs: &[&str]) -> NarInfo {
        let mut fields = parse(TEXT).into_fields();
        fields.sigs = sigs.iter().map(|sig| sig.as_bytes().to_vec()).collect();
        NarInfo::new(fields, NEVER).unwrap()
    }

    fn good() -> String {
        String::from_utf8(parse(TEXT).into_fields().sigs.remove(0)).unwrap()
    }

    #[test]
    fn a_signature_of_nix_is_valid_beside_any_other() {
        assert_eq!(signing::verify(&parse(TEXT), &[KEY.as_bytes()], NEVER).unwrap(), NAME.as_bytes());
        // Another key of the same name.
        let other = signing::generate_key(NAME.as_bytes()).unwrap().1;
        let error = signing::verify(&parse(TEXT), &[other.as_bytes()], NEVER).unwrap_err();
        assert_eq!(error.code(), "invalid_signature");
        assert_eq!(error.details(), [("why", Detail::Name("mismatch"))]);
        let keys = [other.as_bytes(), KEY.as_bytes()];
        assert_eq!(signing::verify(&parse(TEXT), &keys, NEVER).unwrap(), NAME.as_bytes());
        let garbage = ["", ":", NAME, "cache.nixos.org-1:", "cache.nixos.org-1:!", "cache.nixos.org-1:AAAA"];
        let narinfo = with_sigs(&[&garbage[..], &[&good()]].concat());
        assert_eq!(signing::verify(&narinfo, &[KEY.as_bytes()], NEVER).unwrap(), NAME.as_bytes());
    }

    #[test]
    fn each_fault_of_a_signature_is_reported() {
        let named = |text: &str| format!("{NAME}:{text}");
        let mismatch = named(&["A".repeat(86).as_str(), "=="].concat());
        for (sigs, why) in [
            (vec![], SignatureFault::Unsigned),
            (vec![named("AAAA")], SignatureFault::WrongLength),
            (vec![named("")], SignatureFault::WrongLength),
            (vec![named(&"A".repeat(88))], SignatureFault::WrongLength),
            (vec![named("*")], SignatureFault::BadBase64),
            (vec![mismatch.clone()], SignatureFault::Mismatch),
            // A mismatch says more than a garbled signature.
            (vec![mismatch.clone(), named("*")], SignatureFault::Mismatch),
            (vec![named("*"), mismatch], SignatureFault::Mismatch),
            (vec![named("*"), named("AAAA")], SignatureFault::WrongLength),
        ] {
            let sigs: Vec<&str> = sigs.iter().map(String::as_str).collect();
            match signing::verify(&with_sigs(&sigs), &[KEY.as_bytes()], NEVER) {
                Err(Error::Signature(error)) => {
                    assert_eq!(error.why, why, "{sigs:?}");
                    assert_eq!(error.code(), "invalid_signature");
                    assert_eq!(error.details(), [("why", Detail::Name(why.as_str()))]);
                }
                other => panic!("{sigs:?}: {other:?}"),
            }
        }
        for (sigs, keys) in
            [(vec![good()], vec![]), (vec![["other", &good()].concat()], vec![KEY.as_bytes()])]
        {
            let sigs: Vec<&str> = sigs.iter().map(String::as_str).collect();
            match signing::verify(&with_sigs(&sigs), &keys, NEVER) {
                Err(Error::Key(error)) => assert_eq!(error.why, KeyFault::UnknownName),
                other => panic!("{other:?}"),
            }
        }
    }

    #[test]
    fn a_signature_is_inserted_in_order_and_once() {
        for name in ["zzz", "aaa", "cache.nixos.org-0", "cache.nixos.org-10"] {
            let (secret, public) = signing::generate_key(name.as_bytes()).unwrap();
            let signed = signing::sign(parse(TEXT), secret.as_bytes()).unwrap();
            let sigs = &signed.fields().sigs;
            assert!(sigs.is_sorted() && sigs.len() == 2 && sigs.contains(&good().into_bytes()));
            assert_eq!(signing::verify(&signed, &[public.as_bytes()], NEVER).unwrap(), name.as_bytes());
            assert_eq!(signing::public_key(secret.as_bytes()).unwrap(), public);
            assert_eq!(signing::sign(signed.clone(), secret.as_bytes()).unwrap(), signed);
        }
    }

    #[test]
    fn each_fault_of_a_key_is_reported() {
        let public = KEY.split_once(':').unwrap().1;
        let secret = SECRET.split_once(':').unwrap().1;
        let base64 = |first: u8, rest: u8, last: u8| {
            let mut bytes = [rest; 32];
            (bytes[0], bytes[31]) = (first, last);
            Base64::encode_string(&bytes)
        };
        // The point of order 1, no point, and a coordinate that is not below the prime.
        let [order_1, none, above] = [base64(1, 0, 0), base64(2, 0, 0), base64(0xf0, 0xff, 0x7f)];
        for (key, why) in [
            (String::new(), KeyFault::MissingColon),
            (public.into(), KeyFault::MissingColon),
            (format!(":{public}"), KeyFault::BadName),
            (format!("a b:{public}"), KeyFault::BadName),
            (format!("a\nb:{public}"), KeyFault::BadName),
            (format!("a\0b:{public}"), KeyFault::BadName),
            ("a:".into(), KeyFault::WrongLength),
            ("a:AAAA".into(), KeyFault::WrongLength),
            (format!("a:{secret}"), KeyFault::WrongLength),
            ("a:b:c".into(), KeyFault::BadBase64),
            (format!("a:{}", public.replace('6', "*")), KeyFault::BadBase64),
            (format!("a:{order_1}"), KeyFault::SmallOrder),
            (format!("a:{none}"), KeyFault::NotAPoint),
            (format!("a:{above}"), KeyFault::NotAPoint),
        ] {
            let error = PublicKey::parse(key.as_bytes()).unwrap_err();
            assert_eq!(error.why, why, "{key}");
            assert_eq!(error.code(), "invalid_key");
            assert_eq!(error.details(), [("why", Detail::Name(why.as_str()))]);
        }
        let parsed = PublicKey::parse(KEY.as_bytes()).unwrap();
        assert_eq!((parsed.name(), parsed.to_text()), (NAME, KEY.to_string()));
        // With a line break as editors add it, and without the padding.
        for key in [format!("{KEY}\n"), KEY.replace("43", "4\n3"), KEY.trim_end_matches('=').into()] {
            assert_eq!(PublicKey::parse(key.as_bytes()), Ok(parsed.clone()));
        }

        let seed = &Base64::decode_vec(secret).unwrap()[..32];
        let halves = [seed, &Base64::decode_vec(public).unwrap()].concat();
        for (key, why) in [
            (secret.into(), KeyFault::MissingColon),
            (format!(":{secret}"), KeyFault::BadName),
            (format!("a:{}", Base64::encode_string(seed)), KeyFault::WrongLength),
            (format!("a:{}", Base64::encode_string(&halves)), KeyFault::HalvesDiffer),
        ] {
            for result in [
                signing::public_key(key.as_bytes()).map(drop),
                signing::sign(parse(TEXT), key.as_bytes()).map(drop),
            ] {
                let Err(Error::Key(error)) = result else { panic!("{key}: {result:?}") };
                assert_eq!(error.why, why, "{key}");
            }
        }
        for name in ["", "a:b", "a b", "a\tb", "a\u{a0}b", "\0"] {
            let result = signing::generate_key(name.as_bytes()).map(drop);
            let Err(Error::Key(error)) = result else { panic!("{name}: {result:?}") };
            assert_eq!(error.why, KeyFault::BadName, "{name}");
        }
        let key = |name: &str| signing::generate_key(name.as_bytes()).unwrap();
        assert!(key("k\u{e9}y_1-a").1.starts_with("k\u{e9}y_1-a:"));
        assert_ne!(*key("a").0, *key("a").0);
    }
}
