//! Traces to an OpenTelemetry collector: OTLP over HTTP, in protobuf.
//!
//! A thread of the SDK sends the spans in batches. Spans that do not fit into its queue (2048) are
//! dropped, so a collector that does not answer costs neither memory nor time.

use std::time::Duration;

use opentelemetry::trace::{
    SpanContext, SpanId, TraceContextExt as _, TraceFlags, TraceId, TraceState, TracerProvider as _,
};
use opentelemetry::{Context, KeyValue};
use opentelemetry_http::{Bytes, HttpClient, HttpError, Request, Response};
use opentelemetry_otlp::{SpanExporter, WithExportConfig as _, WithHttpConfig as _};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{Sampler, SdkTracerProvider};
use tokio::runtime::Handle;
use tracing::{Span, Subscriber};
use tracing_opentelemetry::OpenTelemetrySpanExt as _;
use tracing_subscriber::Layer;
use tracing_subscriber::filter::dynamic_filter_fn;
use tracing_subscriber::registry::LookupSpan;

use super::TelemetryError;
use super::trace_parent::TraceParent;
use crate::config::TelemetryConfig;

/// How long the collector may take to accept a batch.
const TIMEOUT: Duration = Duration::from_secs(5);

/// How long the last spans get at the server's end.
const FLUSH: Duration = Duration::from_secs(2);

/// The exporter to the collector. Dropped without [`flush`](Self::flush), it loses the queued spans.
#[derive(Debug)]
pub(super) struct Exporter(SdkTracerProvider);

impl Exporter {
    /// Opens the exporter, if a collector is configured. Needs a tokio runtime.
    pub(super) fn open(config: &TelemetryConfig) -> Result<Option<Self>, TelemetryError> {
        let Some(endpoint) = &config.otlp_endpoint else {
            return Ok(None);
        };
        let client = OnRuntime {
            inner: reqwest::Client::builder()
                .redirect(reqwest::redirect::Policy::none())
                .timeout(TIMEOUT)
                .build()
                .map_err(|error| TelemetryError::Traces(error.into()))?,
            runtime: Handle::current(),
        };
        let exporter = SpanExporter::builder()
            .with_http()
            .with_http_client(client)
            .with_endpoint(endpoint)
            .with_timeout(TIMEOUT)
            .build()
            .map_err(|error| TelemetryError::Traces(error.into()))?;
        // A caller that records a trace gets this part of it. Of the other requests, a share is sampled.
        let sampler = Sampler::TraceIdRatioBased(f64::from(config.sample_percent) / 100.0);
        let resource = Resource::builder()
            .with_service_name("backoffice-auth")
            .with_attribute(KeyValue::new("service.version", env!("CARGO_PKG_VERSION")))
            .build();
        let provider = SdkTracerProvider::builder()
            .with_batch_exporter(exporter)
            .with_sampler(Sampler::ParentBased(Box::new(sampler)))
            .with_resource(resource)
            .build();
        Ok(Some(Self(provider)))
    }

    /// The layer that hands this program's spans to the exporter. The spans of libraries are not sent.
    ///
    /// The filter is asked each time. A filter whose answer is cached would reuse the answer to the
    /// last question on the thread, such as sqlx's `enabled!`.
    pub(super) fn layer<S>(&self) -> impl Layer<S> + use<S>
    where
        S: Subscriber + for<'a> LookupSpan<'a>,
    {
        tracing_opentelemetry::layer()
            .with_tracer(self.0.tracer("backoffice-auth"))
            .with_location(false)
            .with_threads(false)
            .with_filter(dynamic_filter_fn(|metadata, _| {
                metadata.target().starts_with("backoffice_auth")
            }))
    }

    /// Sends the queued spans, and none after that.
    pub(super) async fn flush(self) {
        let shutdown = move || self.0.shutdown_with_timeout(FLUSH);
        match tokio::task::spawn_blocking(shutdown).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!(%error, "the last traces were not sent"),
            Err(error) => tracing::error!(%error, "sending the last traces panicked"),
        }
    }
}

/// An HTTP client that sends on the server's runtime: the SDK calls it from a thread without one.
#[derive(Debug)]
struct OnRuntime {
    inner: reqwest::Client,
    runtime: Handle,
}

#[async_trait::async_trait]
impl HttpClient for OnRuntime {
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let request = reqwest::Request::try_from(request)?;
        let client = self.inner.clone();
        let sending = self.runtime.spawn(async move {
            let response = client.execute(request).await?;
            let status = response.status();
            response.bytes().await.map(|body| (status, body))
        });
        let (status, body) = sending.await??;
        Ok(Response::builder().status(status).body(body)?)
    }
}

/// Makes a span a part of its caller's trace. Returns the id of the trace that it is in.
pub(super) fn join(span: &Span, parent: Option<TraceParent>) -> Option<u128> {
    if let Some(parent) = parent {
        let flags = if parent.is_sampled {
            TraceFlags::SAMPLED
        } else {
            TraceFlags::default()
        };
        let caller = SpanContext::new(
            TraceId::from_bytes(parent.trace_id.to_be_bytes()),
            SpanId::from_bytes(parent.parent_id.to_be_bytes()),
            flags,
            true,
            TraceState::default(),
        );
        let context = Context::new().with_remote_span_context(caller);
        // It fails only where no traces are sent.
        let _ = span.set_parent(context);
    }
    let context = span.context();
    let trace_id = context.span().span_context().trace_id();
    (trace_id != TraceId::INVALID).then(|| u128::from_be_bytes(trace_id.to_bytes()))
}
