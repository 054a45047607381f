//! OpenSSL's `libcrypto`, by its EVP interface as its manual shows it: the context keeps the key, each packet sets the
//! nonce.
#![expect(unsafe_code, reason = "calls of a C library")]

use std::ffi::{CStr, c_char, c_int, c_void};
use std::fmt;
use std::path::Path;
use std::ptr;
use std::sync::Arc;

use libloading::Library;
use sealcast_crypto::{SALT_LEN, Span, TAG_LEN};

use crate::crypto::workload::{Nonces, parts};
use crate::crypto::{Aead, Key, KeyBits};

const NAMES: [&str; 2] = ["libcrypto.so.3", "libcrypto.so.4"];
const GET_TAG: c_int = 0x10;
const SET_TAG: c_int = 0x11;
/// [`TAG_LEN`], as C has it.
const TAG_INT: c_int = 16;
const _: () = assert!(TAG_LEN == 16);

type Init =
    unsafe extern "C" fn(*mut c_void, *const c_void, *mut c_void, *const u8, *const u8) -> c_int;
type Update = unsafe extern "C" fn(*mut c_void, *mut u8, *mut c_int, *const u8, c_int) -> c_int;
type Final = unsafe extern "C" fn(*mut c_void, *mut u8, *mut c_int) -> c_int;

/// Functions of the library, which stays loaded as long as they can be called.
struct Api {
    version: unsafe extern "C" fn(c_int) -> *const c_char,
    aes_128_gcm: unsafe extern "C" fn() -> *const c_void,
    aes_256_gcm: unsafe extern "C" fn() -> *const c_void,
    new: unsafe extern "C" fn() -> *mut c_void,
    free: unsafe extern "C" fn(*mut c_void),
    ctrl: unsafe extern "C" fn(*mut c_void, c_int, c_int, *mut c_void) -> c_int,
    encrypt_init: Init,
    encrypt_update: Update,
    encrypt_final: Final,
    decrypt_init: Init,
    decrypt_update: Update,
    decrypt_final: Final,
    _library: Library,
}

/// The library.
pub(crate) struct OpenSsl(Arc<Api>);

impl OpenSsl {
    /// Looks for it: in the file, if one is named, else where the system keeps it.
    pub(crate) fn find(file: Option<&Path>) -> Result<Self, String> {
        // SAFETY: loading libcrypto runs its initialisers, which are made for any process.
        let load = |name: &Path| unsafe { Library::new(name) };
        let library = match file {
            Some(file) => load(file),
            None => load(Path::new(NAMES[0])).or_else(|_| load(Path::new(NAMES[1]))),
        };
        let library = library.map_err(|error| error.to_string())?;
        Api::of(library)
            .map(|api| Self(Arc::new(api)))
            .map_err(|error| error.to_string())
    }

    /// What it calls itself.
    pub(crate) fn version(&self) -> String {
        // SAFETY: 0 is OPENSSL_VERSION; the text is static.
        let text = unsafe { CStr::from_ptr((self.0.version)(0)) };
        text.to_string_lossy().into_owned()
    }

    /// Contexts under `key`.
    pub(crate) fn key(&self, key: &Key) -> Contexts {
        let api = Arc::clone(&self.0);
        // SAFETY: a cipher is a static object; a new context may be initialised with a cipher and a key of its length,
        // without a nonce yet.
        let (seal, open) = unsafe {
            let cipher = match key.bits {
                KeyBits::Aes128 => (api.aes_128_gcm)(),
                KeyBits::Aes256 => (api.aes_256_gcm)(),
            };
            let (seal, open) = ((api.new)(), (api.new)());
            let (none, bytes) = (ptr::null_mut(), key.bytes().as_ptr());
            assert!(
                !seal.is_null()
                    && !open.is_null()
                    && (api.encrypt_init)(seal, cipher, none, bytes, ptr::null()) == 1
                    && (api.decrypt_init)(open, cipher, none, bytes, ptr::null()) == 1,
                "OpenSSL makes no context"
            );
            (seal, open)
        };
        Contexts {
            api,
            seal,
            open,
            nonces: Nonces::new(key),
        }
    }
}

impl fmt::Debug for OpenSsl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("OpenSsl").field(&self.version()).finish()
    }
}

impl Api {
    fn of(library: Library) -> Result<Self, libloading::Error> {
        // SAFETY: the types are those of openssl/evp.h and openssl/crypto.h, unchanged since 3.0; the library is kept
        // beside what was found in it.
        unsafe {
            Ok(Self {
                version: *library.get("OpenSSL_version")?,
                aes_128_gcm: *library.get("EVP_aes_128_gcm")?,
                aes_256_gcm: *library.get("EVP_aes_256_gcm")?,
                new: *library.get("EVP_CIPHER_CTX_new")?,
                free: *library.get("EVP_CIPHER_CTX_free")?,
                ctrl: *library.get("EVP_CIPHER_CTX_ctrl")?,
                encrypt_init: *library.get("EVP_EncryptInit_ex")?,
                encrypt_update: *library.get("EVP_EncryptUpdate")?,
                encrypt_final: *library.get("EVP_EncryptFinal_ex")?,
                decrypt_init: *library.get("EVP_DecryptInit_ex")?,
                decrypt_update: *library.get("EVP_DecryptUpdate")?,
                decrypt_final: *library.get("EVP_DecryptFinal_ex")?,
                _library: library,
            })
        }
    }
}

/// A context for each direction.
pub(crate) struct Contexts {
    api: Arc<Api>,
    seal: *mut c_void,
    open: *mut c_void,
    nonces: Nonces,
}

impl Drop for Contexts {
    fn drop(&mut self) {
        // SAFETY: both were made by `new` and are used nowhere else.
        unsafe {
            (self.api.free)(self.seal);
            (self.api.free)(self.open);
        }
    }
}

impl Contexts {
    /// Sets the nonce, takes the header, works on the payload in place.
    ///
    /// # Safety
    /// `init` and `update` must be those of the direction that `context` was made for.
    unsafe fn packet(
        context: *mut c_void,
        (init, update): (Init, Update),
        nonce: &[u8; SALT_LEN],
        header: &[u8],
        payload: &mut [u8],
    ) -> bool {
        let (Ok(header_len), Ok(payload_len)) = (
            c_int::try_from(header.len()),
            c_int::try_from(payload.len()),
        ) else {
            return false;
        };
        let mut done = 0;
        let (cipher, engine, key) = (ptr::null(), ptr::null_mut(), ptr::null());
        let place = payload.as_mut_ptr();
        // SAFETY: the context has its key; lengths are those of the slices; GCM writes as many bytes as it reads, and
        // may write where it reads.
        unsafe {
            init(context, cipher, engine, key, nonce.as_ptr()) == 1
                && update(
                    context,
                    ptr::null_mut(),
                    &raw mut done,
                    header.as_ptr(),
                    header_len,
                ) == 1
                && update(context, place, &raw mut done, place, payload_len) == 1
        }
    }
}

impl Aead for Contexts {
    fn seal(&mut self, buf: &mut [u8], spans: &[Span]) {
        for (nonce, span) in self.nonces.of(spans) {
            let (header, rest) = parts(buf, span);
            let (payload, tag) = rest.split_at_mut(span.payload_len);
            let functions = (self.api.encrypt_init, self.api.encrypt_update);
            let mut none = 0;
            // SAFETY: `seal` was made to encrypt; the end of GCM writes nothing; `tag` has room for the tag.
            let sealed = unsafe {
                Self::packet(self.seal, functions, nonce, header, payload)
                    && (self.api.encrypt_final)(self.seal, tag.as_mut_ptr(), &raw mut none) == 1
                    && (self.api.ctrl)(self.seal, GET_TAG, TAG_INT, tag.as_mut_ptr().cast()) == 1
            };
            assert!(sealed, "OpenSSL does not seal");
        }
    }

    fn open(&mut self, buf: &mut [u8], spans: &[Span]) -> usize {
        let mut genuine = 0;
        for (nonce, span) in self.nonces.of(spans) {
            let (header, rest) = parts(buf, span);
            let (payload, tag) = rest.split_at_mut(span.payload_len);
            let functions = (self.api.decrypt_init, self.api.decrypt_update);
            let mut none = 0;
            // SAFETY: `open` was made to decrypt; `tag` holds a tag, which is only read; the end of GCM writes nothing.
            let opened = unsafe {
                Self::packet(self.open, functions, nonce, header, payload)
                    && (self.api.ctrl)(self.open, SET_TAG, TAG_INT, tag.as_mut_ptr().cast()) == 1
                    && (self.api.decrypt_final)(self.open, tag.as_mut_ptr(), &raw mut none) == 1
            };
            genuine += usize::from(opened);
        }
        genuine
    }
}
