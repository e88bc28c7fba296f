//! The errors of a request in WASI's words.

use super::super::bindings::wasi::http::types::{DnsErrorPayload, ErrorCode};
use crate::host::HttpError;

fn size(bytes: u64) -> Option<u32> {
    Some(u32::try_from(bytes).unwrap_or(u32::MAX))
}

impl From<HttpError> for ErrorCode {
    fn from(error: HttpError) -> Self {
        match error {
            HttpError::HttpRequestDenied => Self::HttpRequestDenied,
            HttpError::DestinationIpProhibited => Self::DestinationIpProhibited,
            HttpError::DnsError => Self::DnsError(DnsErrorPayload { rcode: None, info_code: None }),
            HttpError::DestinationUnavailable => Self::DestinationUnavailable,
            HttpError::ConnectionRefused => Self::ConnectionRefused,
            HttpError::ConnectionTerminated => Self::ConnectionTerminated,
            HttpError::ConnectionTimeout => Self::ConnectionTimeout,
            HttpError::HttpResponseTimeout => Self::HttpResponseTimeout,
            HttpError::ConnectionLimitReached => Self::ConnectionLimitReached,
            HttpError::TlsProtocolError => Self::TlsProtocolError,
            HttpError::TlsCertificateError => Self::TlsCertificateError,
            HttpError::HttpRequestBodySize(bytes) => Self::HttpRequestBodySize(Some(bytes)),
            HttpError::HttpRequestTrailerSectionSize(bytes) => {
                Self::HttpRequestTrailerSectionSize(size(bytes))
            }
            HttpError::HttpRequestMethodInvalid => Self::HttpRequestMethodInvalid,
            HttpError::HttpRequestUriInvalid => Self::HttpRequestUriInvalid,
            HttpError::HttpResponseBodySize(bytes) => Self::HttpResponseBodySize(Some(bytes)),
            HttpError::HttpResponseHeaderSectionSize(bytes) => {
                Self::HttpResponseHeaderSectionSize(size(bytes))
            }
            HttpError::HttpProtocolError => Self::HttpProtocolError,
            HttpError::InternalError(why) => Self::InternalError(Some(why)),
        }
    }
}
