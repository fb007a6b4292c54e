//! Sends spans to an OpenTelemetry collector, by OTLP over HTTP with protobuf, if `otlp_endpoint` is configured.
//!
//! `trace` declares which spans exist. They wait in a bounded queue, and a thread sends them in batches. Spans that
//! find the queue full or that the collector does not take are dropped and counted; no request and no call ever waits
//! for them.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use opentelemetry::trace::{SpanId, TraceId, TracerProvider};
use opentelemetry::{Context, KeyValue};
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::transform::common::tonic::ResourceAttributesWithSchema;
use opentelemetry_proto::transform::trace::tonic::group_spans_by_resource_and_scope;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::{OTelSdkError, OTelSdkResult};
use opentelemetry_sdk::trace::{
    BatchConfigBuilder, BatchSpanProcessor, IdGenerator, RandomIdGenerator, Sampler, SdkTracer, SdkTracerProvider,
    Span, SpanData, SpanExporter, SpanProcessor,
};
use prost::Message;
use reqwest::header::CONTENT_TYPE;
use tokio::runtime::Handle;
use uuid::Uuid;

use crate::ops::log::milliseconds;
use crate::ops::metrics::SPANS;
use crate::ops::trace;

/// The name under which spans are exported.
const SERVICE: &str = "roost";
/// Where a collector receives spans, below its endpoint.
const TRACES_PATH: &str = "v1/traces";
/// The most spans that wait to be sent.
const QUEUE_SPANS_MAX: usize = 8_192;
/// The most spans in one request to the collector.
const BATCH_SPANS_MAX: usize = 512;
/// How long a span waits for others before a smaller batch is sent.
const BATCH_INTERVAL: Duration = Duration::from_secs(1);
/// How long a request to the collector may take.
const SEND_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a stop waits until the last spans are sent.
const FINISH_TIMEOUT: Duration = Duration::from_secs(2);
/// The least time between two log lines about lost spans.
const LOSS_LOG_INTERVAL: Duration = Duration::from_secs(60);

/// A running export of spans.
#[derive(Debug)]
pub struct SpanExport {
    provider: SdkTracerProvider,
    queue: Arc<QueueState>,
}

impl SpanExport {
    /// Sends the spans that wait and ends the export. Spans that cannot be sent within two seconds are lost.
    pub async fn finish(self) {
        let Self { provider, queue } = self;
        let finished = tokio::task::spawn_blocking(move || provider.shutdown_with_timeout(FINISH_TIMEOUT)).await;
        if !matches!(finished, Ok(Ok(()))) {
            tracing::warn!(
                waiting = queue.waiting.load(Ordering::Relaxed),
                timeout_ms = milliseconds(FINISH_TIMEOUT),
                "the last spans are lost: the collector at otlp_endpoint did not take them in time"
            );
        }
    }
}

/// Begins to export spans to the collector at this endpoint, such as `http://127.0.0.1:4318`.
pub(super) fn start(endpoint: &str) -> anyhow::Result<(SdkTracer, SpanExport)> {
    let queue = Arc::<QueueState>::default();
    let exporter = CollectorExporter {
        runtime: Handle::try_current()?,
        client: reqwest::Client::builder()
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .timeout(SEND_TIMEOUT)
            .build()?,
        url: format!("{}/{TRACES_PATH}", endpoint.trim_end_matches('/')),
        resource: ResourceAttributesWithSchema::default(),
        queue: Arc::clone(&queue),
        loss_logged: Mutex::new(None),
    };
    // The builder takes defaults from variables of the environment; everything that they could change is set here.
    let batches = BatchConfigBuilder::default()
        .with_max_queue_size(QUEUE_SPANS_MAX)
        .with_max_export_batch_size(BATCH_SPANS_MAX)
        .with_scheduled_delay(BATCH_INTERVAL)
        .build();
    let sender = BatchSpanProcessor::builder(exporter).with_batch_config(batches).build();
    let provider = SdkTracerProvider::builder()
        .with_sampler(Sampler::ParentBased(Box::new(Sampler::AlwaysOn)))
        .with_id_generator(ShownIds::default())
        .with_resource(resource())
        .with_span_processor(BoundedQueue { state: Arc::clone(&queue), sender })
        .build();
    Ok((provider.tracer(SERVICE), SpanExport { provider, queue }))
}

/// What the collector is told about this process.
fn resource() -> Resource {
    let attributes = [
        KeyValue::new("service.name", SERVICE),
        KeyValue::new("service.version", env!("CARGO_PKG_VERSION")),
        KeyValue::new("service.instance.id", Uuid::new_v4().to_string()),
    ];
    Resource::builder_empty().with_attributes(attributes).build()
}

/// Makes the ids of spans. A new trace has the id that answers and log lines show, where that id has the form of one.
#[derive(Debug, Default)]
struct ShownIds(RandomIdGenerator);

impl IdGenerator for ShownIds {
    fn new_trace_id(&self) -> TraceId {
        trace::current_otel_id().unwrap_or_else(|| self.0.new_trace_id())
    }

    fn new_span_id(&self) -> SpanId {
        self.0.new_span_id()
    }
}

/// The figures of the queue.
#[derive(Debug, Default)]
struct QueueState {
    /// Spans that wait to be sent.
    waiting: AtomicUsize,
    /// Spans that were dropped and are not in the log yet.
    lost: AtomicU64,
}

impl QueueState {
    fn count_lost(&self, outcome: &'static str, spans: usize) {
        let spans = spans as u64;
        SPANS.of([outcome]).inc_by(spans);
        self.lost.fetch_add(spans, Ordering::Relaxed);
    }
}

/// Drops and counts the spans that find the queue full. The queue of the library would drop them without a count.
#[derive(Debug)]
struct BoundedQueue {
    state: Arc<QueueState>,
    sender: BatchSpanProcessor,
}

impl SpanProcessor for BoundedQueue {
    fn on_start(&self, span: &mut Span, context: &Context) {
        self.sender.on_start(span, context);
    }

    fn on_end(&self, span: SpanData) {
        if self.state.waiting.fetch_add(1, Ordering::Relaxed) < QUEUE_SPANS_MAX {
            return self.sender.on_end(span);
        }
        self.state.waiting.fetch_sub(1, Ordering::Relaxed);
        self.state.count_lost("queue_full", 1);
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.sender.force_flush()
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.sender.shutdown_with_timeout(timeout)
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.sender.set_resource(resource);
    }
}

/// Sends batches to the collector. The library calls it from a thread of its own.
#[derive(Debug)]
struct CollectorExporter {
    /// The client works within the runtime of the process.
    runtime: Handle,
    client: reqwest::Client,
    url: String,
    resource: ResourceAttributesWithSchema,
    queue: Arc<QueueState>,
    /// The time of the last log line about lost spans.
    loss_logged: Mutex<Option<Instant>>,
}

impl CollectorExporter {
    async fn send(&self, body: Vec<u8>) -> Result<(), String> {
        let request = self.client.post(&self.url).header(CONTENT_TYPE, "application/x-protobuf").body(body);
        let sent = self.runtime.spawn(async move { request.send().await?.error_for_status() });
        match sent.await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(error)) => Err(format!("{:#}", anyhow::Error::from(error))),
            Err(_) => Err("the process ends".to_owned()),
        }
    }

    /// Logs how many spans were lost since the last log line about it. `is_last`: also if that line is less than a
    /// minute old.
    fn log_losses(&self, error: Option<&str>, is_last: bool) {
        let mut logged = self.loss_logged.lock().unwrap_or_else(PoisonError::into_inner);
        let is_too_early = logged.is_some_and(|at| at.elapsed() < LOSS_LOG_INTERVAL);
        if self.queue.lost.load(Ordering::Relaxed) == 0 || (is_too_early && !is_last) {
            return;
        }
        *logged = Some(Instant::now());
        tracing::warn!(
            spans = self.queue.lost.swap(0, Ordering::Relaxed),
            error,
            "spans are lost: the collector at otlp_endpoint does not take them, or not fast enough"
        );
    }
}

impl SpanExporter for CollectorExporter {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        let spans = batch.len();
        self.queue.waiting.fetch_sub(spans, Ordering::Relaxed);
        let resource_spans = group_spans_by_resource_and_scope(batch, &self.resource);
        let sent = self.send(ExportTraceServiceRequest { resource_spans }.encode_to_vec()).await;
        match &sent {
            Ok(()) => SPANS.of(["sent"]).inc_by(spans as u64),
            Err(_) => self.queue.count_lost("failed", spans),
        }
        self.log_losses(sent.as_ref().err().map(String::as_str), false);
        sent.map_err(OTelSdkError::InternalFailure)
    }

    fn shutdown_with_timeout(&self, _: Duration) -> OTelSdkResult {
        self.log_losses(None, true);
        Ok(())
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.resource = resource.into();
    }
}
