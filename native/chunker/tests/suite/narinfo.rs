//! Properties of narinfos: texts round-trip, and signatures cover everything that is signed.

mod rules;

use chunker::hash::nix_base32;
use chunker::narinfo::{Fields, NarInfo, name};
use chunker::{ErrorCode, NEVER};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

fn base_name() -> impl Strategy<Value = Vec<u8>> {
    (any::<[u8; 20]>(), "[0-9a-zA-Z+_?=-][0-9a-zA-Z+._?=-]{0,30}")
        .prop_map(|(hash, name)| format!("{}-{name}", nix_base32::encode(&hash)).into_bytes())
}

fn hash() -> impl Strategy<Value = Vec<u8>> {
    any::<[u8; 32]>().prop_map(|hash| format!("sha256:{}", nix_base32::encode(&hash)).into_bytes())
}

/// Generates the bytes of a line, many of which have a meaning elsewhere.
fn line(least: usize) -> impl Strategy<Value = Vec<u8>> {
    let byte = prop_oneof![any::<u8>(), Just(b' '), Just(b':'), Just(b'\r'), Just(b'-')];
    vec(byte.prop_filter("one line", |&byte| byte != b'\n'), least..20)
}

fn extra() -> impl Strategy<Value = (Vec<u8>, Vec<u8>)> {
    let field = line(0).prop_filter("unknown", |field| {
        !field.contains(&b':') && !name::ALL.iter().any(|known| known.as_bytes() == field)
    });
    (field, line(0))
}

/// Generates fields in the notation that Nix writes.
fn fields() -> impl Strategy<Value = Fields> {
    let store = prop_oneof![Just("/nix/store"), Just(""), Just("/a b/;,/\u{e9}")];
    let path =
        (store, base_name()).prop_map(|(store, base_name)| [store.as_bytes(), b"/", &base_name].concat());
    let address = (prop_oneof![Just("text:"), Just("fixed:"), Just("fixed:r:")], hash())
        .prop_map(|(method, hash)| [method.as_bytes(), &hash].concat());
    let references = vec(base_name(), 0..6).prop_map(|mut references| {
        references.sort();
        references
    });
    let sigs = vec(line(0), 0..4).prop_map(|mut sigs| {
        let mut seen = std::collections::HashSet::new();
        sigs.retain(|signature| seen.insert(signature.clone()));
        sigs
    });
    let file = (line(1), line(1), option::of(hash()), option::of(any::<u64>()));
    let rest = (option::of(base_name()), option::of(line(1)), option::of(address), sigs, vec(extra(), 0..4));
    (path, file, hash(), 1..=u64::MAX, references, rest).prop_map(
        |(store_path, file, nar_hash, nar_size, references, rest)| {
            let (url, compression, file_hash, file_size) = file;
            let (deriver, system, ca, sigs, extra) = rest;
            Fields {
                store_path,
                url,
                compression,
                file_hash,
                file_size,
                nar_hash,
                nar_size: Some(nar_size),
                references,
                deriver,
                system,
                ca,
                sigs,
                extra,
            }
        },
    )
}

proptest! {
    #[test]
    fn written_text_is_read_back(fields in fields()) {
        let narinfo = NarInfo::new(fields.clone(), NEVER).unwrap();
        prop_assert_eq!(narinfo.fields(), &fields);
        let text = narinfo.to_text();
        let read = NarInfo::parse(&text, NEVER).unwrap();
        prop_assert_eq!(&read, &narinfo);
        prop_assert_eq!(read.to_text(), text);
    }

    /// Compares with the definition: four parts with semicolons, and the full paths of the references.
    #[test]
    fn a_fingerprint_matches_the_definition_of_nix(fields in fields()) {
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        let path = text(&fields.store_path);
        let (store, _) = path.rsplit_once('/').unwrap();
        let references: Vec<_> = fields.references.iter().map(|name| format!("{store}/{}", text(name))).collect();
        let expected =
            format!("1;{path};{};{};{}", text(&fields.nar_hash), fields.nar_size.unwrap(), references.join(","));
        let narinfo = NarInfo::new(fields, NEVER).unwrap();
        prop_assert_eq!(text(&narinfo.fingerprint()), expected);
    }

    #[test]
    fn accepted_text_round_trips(
        mut text in fields().prop_map(|fields| NarInfo::new(fields, NEVER).unwrap().to_text()),
        changes in vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
    ) {
        for (place, byte) in changes {
            let place = place.index(text.len());
            text[place] = byte;
        }
        if let Ok(narinfo) = NarInfo::parse(&text, NEVER) {
            prop_assert_eq!(&NarInfo::parse(&narinfo.to_text(), NEVER).unwrap(), &narinfo);
        }
    }

    #[test]
    fn noise_is_rejected(noise in vec(any::<u8>(), 0..200)) {
        prop_assert_eq!(NarInfo::parse(&noise, NEVER).unwrap_err().code(), "invalid_narinfo");
    }
}

/// Returns a narinfo with the largest possible number of references.
fn largest() -> Vec<u8> {
    let mut text = b"StorePath: /nix/store/00bgd045z0d4icpbc2yyz4gx48ak44la-a\nURL: a\n\
        NarHash: sha256:0mdqa9w1p6cmli6976v4wi0sw9r4p5prkj7lzfd1877wk11c9c73\nNarSize: 1\nReferences:"
        .to_vec();
    for number in (0u64..).take(180_000) {
        // In an arbitrary order.
        let hash = number.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_le_bytes().repeat(3);
        text.extend_from_slice(format!(" {}-name", nix_base32::encode(&hash[..20])).as_bytes());
    }
    text.push(b'\n');
    text
}

#[test]
fn long_calls_can_be_cancelled() {
    let text = largest();
    assert_eq!(NarInfo::parse(&text, &|| true).unwrap_err().code(), "cancelled");
    assert_eq!(NarInfo::parse(&b"a: b\n".repeat(10_000), &|| true).unwrap_err().code(), "cancelled");
    let narinfo = NarInfo::parse(&text, NEVER).unwrap();
    assert!(narinfo.fields().references.is_sorted());
    assert_eq!(narinfo.fields().references.len(), 180_000);
}

#[cfg(not(feature = "signing"))]
#[test]
fn signing_is_reported_as_disabled() {
    use chunker::narinfo::signing;

    let text = b"StorePath: /nix/store/00bgd045z0d4icpbc2yyz4gx48ak44la-a\nURL: a\n\
        NarHash: sha256:0mdqa9w1p6cmli6976v4wi0sw9r4p5prkj7lzfd1877wk11c9c73\nNarSize: 1\n";
    let narinfo = NarInfo::parse(text, NEVER).unwrap();
    for error in [
        signing::generate_key(b"a").unwrap_err(),
        signing::public_key(b"a").unwrap_err(),
        signing::verify(&narinfo, &[], NEVER).unwrap_err(),
        signing::sign(narinfo, b"a").unwrap_err(),
    ] {
        assert_eq!(error.code(), "feature_disabled");
        assert_eq!(error.details(), [("feature", chunker::error::Detail::Name("signing"))]);
    }
}

#[cfg(feature = "signing")]
mod signatures {
    use base64ct::{Base64, Encoding};
    use chunker::narinfo::signing::{self, PublicKey, SecretKey};

    use super::*;

    fn bytes(hex: &str) -> Vec<u8> {
        hex.as_bytes()
            .chunks(2)
            .map(|pair| u8::from_str_radix(str::from_utf8(pair).unwrap(), 16).unwrap())
            .collect()
    }

    fn named(bytes: &[u8]) -> String {
        format!("name:{}", Base64::encode_string(bytes))
    }

    /// RFC 8032, section 7.1: secret key, public key, message, signature.
    const VECTORS: [[&str; 4]; 4] = [
        [
            "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60",
            "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
            "",
            "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555\
             fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b",
        ],
        [
            "4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb",
            "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c",
            "72",
            "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da\
             085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00",
        ],
        [
            "c5aa8df43f9f837bedb7442f31dcb7b166d38535076f094b85ce3a2e0b4458f7",
            "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025",
            "af82",
            "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac\
             18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28dc027beceea1ec40a",
        ],
        [
            "833fe62409237b9d62ec77587520911e9a759cec1d19755b7da901b96dca3d42",
            "ec172b93ad5e563bf4932c70e1245034c35467ef2efd4d64ebf819683467e2bf",
            "ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a\
             2192992a274fc1a836ba3c23a3feebbd454d4423643ce80e2a9ac94fa54ca49f",
            "dc2a4459e7369633a52b1bf277839a00201009a3efbf3ecb69bea2186c26b589\
             09351fc9ac90b3ecfdfbc7c66431e0303dca179c138ac17ad9bef1177331a704",
        ],
    ];

    #[test]
    fn signatures_match_rfc_8032() {
        for vector in VECTORS {
            let [secret, public, message, signature] = vector.map(bytes);
            let key = SecretKey::parse(named(&[&secret[..], &public].concat()).as_bytes()).unwrap();
            assert_eq!(key.public().to_text(), named(&public));
            assert_eq!(key.sign(&message), named(&signature));
            assert_eq!(*key.to_text(), named(&[secret, public.clone()].concat()));
            let public = PublicKey::parse(named(&public).as_bytes()).unwrap();
            assert_eq!(public.verify(&message, Base64::encode_string(&signature).as_bytes()), Ok(()));
        }
    }

    /// Parsing alone cannot notice a line that is missing at the end, but then the signature does not verify.
    #[test]
    fn a_signed_narinfo_that_is_cut_off_anywhere_is_rejected() {
        let text = b"StorePath: /nix/store/00bgd045z0d4icpbc2yyz4gx48ak44la-a\nURL: nar/a.nar\n\
            NarHash: sha256:0mdqa9w1p6cmli6976v4wi0sw9r4p5prkj7lzfd1877wk11c9c73\nNarSize: 120\n\
            References: 00bgd045z0d4icpbc2yyz4gx48ak44la-a 1a4yxdn5k4sg5bi5gbwmcbl6m3dgrdwy-b\n";
        let (secret, public) = signing::generate_key(b"name").unwrap();
        let signed = signing::sign(NarInfo::parse(text, NEVER).unwrap(), secret.as_bytes()).unwrap();
        let sig = [&b"Sig: "[..], &signed.fields().sigs[0], b"\n"].concat();
        let verifies = |text: &[u8]| {
            NarInfo::parse(text, NEVER)
                .and_then(|narinfo| signing::verify(&narinfo, &[public.as_bytes()], NEVER))
        };
        // The signature as the last line, and as the first one.
        for signed in [[&text[..], &sig].concat(), [&sig, &text[..]].concat()] {
            assert_eq!(verifies(&signed).unwrap(), b"name");
            for end in 0..signed.len() {
                let error = verifies(&signed[..end]).expect_err("it is not whole");
                let at_line_end = signed[..end].ends_with(b"\n");
                let codes = if at_line_end {
                    &["invalid_narinfo", "invalid_signature"][..]
                } else {
                    &["invalid_narinfo"]
                };
                assert!(end == 0 || codes.contains(&error.code()), "{end} bytes: {error}");
            }
        }
    }

    #[test]
    fn a_secret_key_is_not_printed() {
        let key = SecretKey::generate(b"shown").unwrap();
        assert_eq!(format!("{key:?}"), r#"SecretKey { name: "shown", .. }"#);
    }

    proptest! {
        #[test]
        fn any_flipped_bit_of_a_signature_or_a_message_or_a_key_is_detected(
            seed: [u8; 32],
            message in vec(any::<u8>(), 1..200),
            place: prop::sample::Index,
            bit in 0..8u8,
        ) {
            let public = ed25519_dalek::SigningKey::from_bytes(&seed).verifying_key().to_bytes();
            let key = SecretKey::parse(named(&[seed, public].concat()).as_bytes()).unwrap();
            let text = key.sign(&message);
            let signature = Base64::decode_vec(text.strip_prefix("name:").unwrap()).unwrap();
            let flipped = |bytes: &[u8]| {
                let mut bytes = bytes.to_vec();
                let place = place.index(bytes.len());
                bytes[place] ^= 1 << bit;
                bytes
            };
            let verify = |public: &[u8], message: &[u8], signature: &[u8]| {
                let Ok(key) = PublicKey::parse(named(public).as_bytes()) else { return false };
                key.verify(message, Base64::encode_string(signature).as_bytes()).is_ok()
            };
            prop_assert!(verify(&public, &message, &signature));
            prop_assert!(!verify(&flipped(&public), &message, &signature));
            prop_assert!(!verify(&public, &flipped(&message), &signature));
            prop_assert!(!verify(&public, &message, &flipped(&signature)));
        }

        /// If a changed narinfo is still valid and has another fingerprint, its signature must be invalid.
        #[test]
        fn any_flipped_bit_of_the_signed_fields_is_detected(
            fields in fields(),
            in_the_path: bool,
            place: prop::sample::Index,
            bit in 0..8u8,
        ) {
            let (secret, public) = signing::generate_key(b"key").unwrap();
            let narinfo = NarInfo::new(Fields { sigs: Vec::new(), ..fields }, NEVER).unwrap();
            let signed = signing::sign(narinfo, secret.as_bytes()).unwrap();
            let keys = [public.as_bytes()];
            prop_assert_eq!(signing::verify(&signed, &keys, NEVER).unwrap(), b"key");

            // The lines that are signed completely.
            let fields = signed.fields();
            let lines = if in_the_path {
                [b"StorePath: ", &fields.store_path[..]].concat()
            } else {
                let size = fields.nar_size.unwrap().to_string();
                let references = fields.references.join(&b' ');
                [b"\nNarHash: ", &fields.nar_hash[..], b"\nNarSize: ", size.as_bytes(), b"\nReferences: ", &references, b"\n"]
                    .concat()
            };
            let mut text = signed.to_text();
            let start = text.windows(lines.len()).position(|window| window == lines).unwrap();
            text[start + place.index(lines.len())] ^= 1 << bit;
            if let Ok(changed) = NarInfo::parse(&text, NEVER) {
                if changed.fingerprint() == signed.fingerprint() {
                    // For example, the name `References` is not signed if there are no references.
                    prop_assert!(signing::verify(&changed, &keys, NEVER).is_ok());
                } else {
                    let error = signing::verify(&changed, &keys, NEVER).unwrap_err();
                    prop_assert_eq!(error.code(), "invalid_signature");
                }
            }
        }
    }

    #[test]
    fn verification_can_be_cancelled() {
        let (secret, public) = signing::generate_key(b"key").unwrap();
        let text = b"StorePath: /nix/store/00bgd045z0d4icpbc2yyz4gx48ak44la-a\nURL: a\n\
            NarHash: sha256:0mdqa9w1p6cmli6976v4wi0sw9r4p5prkj7lzfd1877wk11c9c73\nNarSize: 1\n";
        let narinfo = signing::sign(NarInfo::parse(text, NEVER).unwrap(), secret.as_bytes()).unwrap();
        let error = signing::verify(&narinfo, &[public.as_bytes()], &|| true).unwrap_err();
        assert_eq!(error.code(), "cancelled");
    }
}
