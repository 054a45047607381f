//! Intel's multi-buffer library: the direct AES-GCM functions that its manager would choose for this processor, a packet
//! per call.
#![expect(unsafe_code, reason = "calls of a C library")]

use std::ffi::{CStr, c_char};
use std::fmt;
use std::sync::Arc;

use libloading::{Library, Symbol};
use sealcast_crypto::{SALT_LEN, Span, TAG_LEN};

use crate::crypto::workload::{Nonces, parts};
use crate::crypto::{Aead, Key, KeyBits};

const NAMES: [&str; 2] = ["libIPSec_MB.so.1", "libIPSec_MB.so.2"];
/// More than `struct gcm_key_data` takes in any release up to 2.0 (1024 bytes in 1.3).
const KEY_BYTES: usize = 8192;
/// More than `struct gcm_context_data` takes (88 bytes).
const CONTEXT_BYTES: usize = 512;

/// (key, context, out, in, length, nonce, aad, its length, tag, its length)
type Crypt = unsafe extern "C" fn(
    *const KeyData,
    *mut Context,
    *mut u8,
    *const u8,
    u64,
    *const u8,
    *const u8,
    u64,
    *mut u8,
    u64,
);
type Expand = unsafe extern "C" fn(*const u8, *mut KeyData);

#[repr(C, align(64))]
struct KeyData([u8; KEY_BYTES]);

#[repr(C, align(64))]
struct Context([u8; CONTEXT_BYTES]);

/// The library.
#[derive(Clone)]
pub(crate) struct IpsecMb {
    library: Arc<Library>,
    functions: [Functions; 2],
    version: String,
    variant: &'static str,
}

#[derive(Clone, Copy)]
struct Functions {
    expand: Expand,
    seal: Crypt,
    open: Crypt,
}

impl IpsecMb {
    /// Looks for it where the system keeps libraries.
    pub(crate) fn find() -> Result<Self, String> {
        let variant = variant().ok_or("made for x86-64 with AES instructions")?;
        // SAFETY: the library's initialisers only look at the processor.
        let load = |name: &str| unsafe { Library::new(name) };
        let library = load(NAMES[0])
            .or_else(|_| load(NAMES[1]))
            .map_err(|error| error.to_string())?;
        Self::of(library, variant).map_err(|error| error.to_string())
    }

    fn of(library: Library, variant: &'static str) -> Result<Self, libloading::Error> {
        // SAFETY: the types are those of intel-ipsec-mb.h; each function is kept beside the library it belongs to.
        unsafe {
            let functions = |bits: u16| {
                Ok::<_, libloading::Error>(Functions {
                    expand: *library.get(format!("aes_gcm_pre_{bits}_{variant}"))?,
                    seal: *library.get(format!("aes_gcm_enc_{bits}_{variant}"))?,
                    open: *library.get(format!("aes_gcm_dec_{bits}_{variant}"))?,
                })
            };
            let functions = [functions(128)?, functions(256)?];
            let version: Symbol<'_, unsafe extern "C" fn() -> *const c_char> =
                library.get("imb_get_version_str")?;
            let version = CStr::from_ptr(version()).to_string_lossy().into_owned();
            Ok(Self {
                functions,
                version,
                variant,
                library: Arc::new(library),
            })
        }
    }

    /// What it calls itself, and which of its variants runs.
    pub(crate) fn version(&self) -> String {
        format!("{} ({})", self.version, self.variant)
    }

    /// An expanded key.
    pub(crate) fn key(&self, key: &Key) -> Expanded {
        let functions = match key.bits {
            KeyBits::Aes128 => self.functions[0],
            KeyBits::Aes256 => self.functions[1],
        };
        let mut data = Box::new(KeyData([0; KEY_BYTES]));
        // SAFETY: the key has the length that the function reads; `data` is aligned as the header demands, and longer.
        unsafe { (functions.expand)(key.bytes().as_ptr(), &raw mut *data) };
        Expanded {
            functions,
            state: State {
                key: data,
                context: Box::new(Context([0; CONTEXT_BYTES])),
            },
            nonces: Nonces::new(key),
            _library: Arc::clone(&self.library),
        }
    }
}

impl fmt::Debug for IpsecMb {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("IpsecMb").field(&self.version()).finish()
    }
}

/// The end of the functions' names for this processor.
#[cfg(target_arch = "x86_64")]
fn variant() -> Option<&'static str> {
    use std::arch::is_x86_feature_detected as has;
    let avx512 = has!("avx512f") && has!("avx512bw") && has!("avx512vl") && has!("avx512dq");
    if !(has!("aes") && has!("pclmulqdq") && has!("sse4.2")) {
        None
    } else if avx512 && has!("vaes") && has!("vpclmulqdq") {
        Some("vaes_avx512")
    } else if avx512 {
        Some("avx512")
    } else if has!("avx2") {
        Some("avx_gen4")
    } else {
        Some("sse")
    }
}

#[cfg(not(target_arch = "x86_64"))]
fn variant() -> Option<&'static str> {
    None
}

/// An expanded key, with the functions that use it.
pub(crate) struct Expanded {
    functions: Functions,
    state: State,
    nonces: Nonces,
    _library: Arc<Library>,
}

struct State {
    key: Box<KeyData>,
    context: Box<Context>,
}

impl State {
    /// Seals or opens one packet in place, and writes its tag to `tag`.
    fn crypt(
        &mut self,
        crypt: Crypt,
        nonce: &[u8; SALT_LEN],
        header: &[u8],
        payload: &mut [u8],
        tag: &mut [u8; TAG_LEN],
    ) {
        let place = payload.as_mut_ptr();
        // SAFETY: the key is expanded; lengths are those of the slices; the function writes as many bytes as it reads and
        // may write where it reads; the nonce has its 12 bytes.
        unsafe {
            crypt(
                &raw const *self.key,
                &raw mut *self.context,
                place,
                place,
                payload.len() as u64,
                nonce.as_ptr(),
                header.as_ptr(),
                header.len() as u64,
                tag.as_mut_ptr(),
                TAG_LEN as u64,
            );
        }
    }
}

impl Aead for Expanded {
    fn seal(&mut self, buf: &mut [u8], spans: &[Span]) {
        for (nonce, span) in self.nonces.of(spans) {
            let (header, rest) = parts(buf, span);
            if let Some((payload, tag)) = rest.split_last_chunk_mut() {
                self.state
                    .crypt(self.functions.seal, nonce, header, payload, tag);
            }
        }
    }

    /// The library makes the tag; comparing it is left to the caller (and no packet is wiped: that is a little less work).
    fn open(&mut self, buf: &mut [u8], spans: &[Span]) -> usize {
        let mut genuine = 0;
        for (nonce, span) in self.nonces.of(spans) {
            let (header, rest) = parts(buf, span);
            if let Some((payload, tag)) = rest.split_last_chunk_mut::<TAG_LEN>() {
                let mut made = [0; TAG_LEN];
                self.state
                    .crypt(self.functions.open, nonce, header, payload, &mut made);
                let differing = u128::from_ne_bytes(made) ^ u128::from_ne_bytes(*tag);
                genuine += usize::from(differing == 0);
            }
        }
        genuine
    }
}
