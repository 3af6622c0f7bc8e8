//! Narinfos of Nix's binary caches.

use chunker::narinfo::{Fault, Fields, NarInfo, check_size, name, signing};
use rustler::{Binary, Encoder, Env, NifResult, NifTuple, Term};

use crate::atoms;
use crate::binary::text;
use crate::call::{Call, guard, nif, ok};
use crate::error::NifError;
use crate::list::List;

/// The fields in the order of `Chunker.NarInfo`, as `chunker_narinfo_form` sends them. A missing field is
/// `nil`.
#[derive(NifTuple)]
#[rustler(decode)]
struct Form<'a> {
    store_path: Binary<'a>,
    url: Binary<'a>,
    compression: Binary<'a>,
    file_hash: Option<Binary<'a>>,
    file_size: Term<'a>,
    nar_hash: Binary<'a>,
    nar_size: Term<'a>,
    references: List<Binary<'a>>,
    deriver: Option<Binary<'a>>,
    system: Option<Binary<'a>>,
    ca: Option<Binary<'a>>,
    sigs: List<Binary<'a>>,
    extra: List<(Binary<'a>, Binary<'a>)>,
}

impl<'a> Form<'a> {
    fn checked(&self, env: Env<'a>) -> Result<NarInfo, NifError<'a>> {
        // Before anything is copied: one binary may be in a list a million times.
        check_size(self.size())?;
        let bytes = |binary: &Binary<'a>| binary.to_vec();
        let fields = Fields {
            store_path: bytes(&self.store_path),
            url: bytes(&self.url),
            compression: bytes(&self.compression),
            file_hash: self.file_hash.as_ref().map(bytes),
            file_size: number(name::FILE_SIZE, self.file_size)?,
            nar_hash: bytes(&self.nar_hash),
            nar_size: number(name::NAR_SIZE, self.nar_size)?,
            references: self.references.0.iter().map(bytes).collect(),
            deriver: self.deriver.as_ref().map(bytes),
            system: self.system.as_ref().map(bytes),
            ca: self.ca.as_ref().map(bytes),
            sigs: self.sigs.0.iter().map(bytes).collect(),
            extra: self.extra.0.iter().map(|(field, value)| (bytes(field), bytes(value))).collect(),
        };
        Ok(NarInfo::new(fields, &Call::dirty(env).is_cancelled())?)
    }

    /// Returns the total size of all texts, in bytes.
    fn size(&self) -> u64 {
        let optional = [&self.file_hash, &self.deriver, &self.system, &self.ca];
        [&self.store_path, &self.url, &self.compression, &self.nar_hash]
            .into_iter()
            .chain(optional.into_iter().flatten())
            .chain(&self.references.0)
            .chain(&self.sigs.0)
            .chain(self.extra.0.iter().flat_map(|(field, value)| [field, value]))
            .map(|text| text.len() as u64)
            .sum()
    }
}

/// Decodes an integer that fits in 64 bits, or `nil`.
fn number<'a>(field: &str, value: Term<'a>) -> Result<Option<u64>, NifError<'a>> {
    Ok(value.decode().map_err(|_| Fault::NotANumber.of(field))?)
}

/// `{ok, Form}`
fn encode<'a>(env: Env<'a>, narinfo: &NarInfo) -> Term<'a> {
    let fields = narinfo.fields();
    let binary = |bytes: &Vec<u8>| text(env, bytes);
    let optional = |bytes: &Option<Vec<u8>>| bytes.as_ref().map(binary).encode(env);
    let list = |items: &[Vec<u8>]| items.iter().map(binary).collect::<Vec<_>>().encode(env);
    let extra: Vec<_> = fields.extra.iter().map(|(field, value)| (binary(field), binary(value))).collect();
    let form = [
        binary(&fields.store_path),
        binary(&fields.url),
        binary(&fields.compression),
        optional(&fields.file_hash),
        fields.file_size.encode(env),
        binary(&fields.nar_hash),
        fields.nar_size.encode(env),
        list(&fields.references),
        optional(&fields.deriver),
        optional(&fields.system),
        optional(&fields.ca),
        list(&fields.sigs),
        extra.encode(env),
    ];
    (atoms::ok(), rustler::types::tuple::make_tuple(env, &form)).encode(env)
}

nif! {
    /// `{ok, Form}`
    plain narinfo_parse, dirty narinfo_parse_dirty => fn(call, narinfo: Binary<'a>) {
        Ok(encode(call.env, &NarInfo::parse(&narinfo, &call.is_cancelled())?))
    }
}

/// `{ok, Text}`
#[rustler::nif(schedule = "DirtyCpu")]
fn narinfo_to_text<'a>(env: Env<'a>, narinfo: Form<'a>) -> NifResult<Term<'a>> {
    guard(env, || ok(env, text(env, narinfo.checked(env)?.to_text().as_ref())))
}

/// `{ok, Text}`
#[rustler::nif(schedule = "DirtyCpu")]
fn narinfo_fingerprint<'a>(env: Env<'a>, narinfo: Form<'a>) -> NifResult<Term<'a>> {
    guard(env, || ok(env, text(env, narinfo.checked(env)?.fingerprint().as_ref())))
}

/// `{ok, Form}`
#[rustler::nif(schedule = "DirtyCpu")]
fn narinfo_sign<'a>(env: Env<'a>, narinfo: Form<'a>, secret_key: Binary<'a>) -> NifResult<Term<'a>> {
    guard(env, || Ok(encode(env, &signing::sign(narinfo.checked(env)?, &secret_key)?)))
}

/// `{ok, KeyName}`
#[rustler::nif(schedule = "DirtyCpu")]
fn narinfo_verify<'a>(
    env: Env<'a>,
    narinfo: Form<'a>,
    List(public_keys): List<Binary<'a>>,
) -> NifResult<Term<'a>> {
    guard(env, || {
        let keys: Vec<&[u8]> = public_keys.iter().map(Binary::as_slice).collect();
        ok(
            env,
            text(
                env,
                signing::verify(&narinfo.checked(env)?, &keys, &Call::dirty(env).is_cancelled())?.as_ref(),
            ),
        )
    })
}

/// `{ok, {SecretKey, PublicKey}}`
#[rustler::nif(schedule = "DirtyCpu")]
fn narinfo_generate_key<'a>(env: Env<'a>, key_name: Binary<'a>) -> NifResult<Term<'a>> {
    guard(env, || {
        let (secret, public) = signing::generate_key(&key_name)?;
        ok(env, (text(env, secret.as_bytes()), text(env, public.as_bytes())))
    })
}

/// `{ok, PublicKey}`
#[rustler::nif(schedule = "DirtyCpu")]
fn narinfo_public_key<'a>(env: Env<'a>, secret_key: Binary<'a>) -> NifResult<Term<'a>> {
    guard(env, || ok(env, text(env, signing::public_key(&secret_key)?.as_bytes())))
}
