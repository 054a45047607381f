//! Paths, methods, handlers, and what each is for: one line each.

use aide::axum::{ApiRouter, routing};
use aide::generate::{GenContext, in_context};
use aide::openapi::{
    MediaType, Operation, ReferenceOr, RequestBody, Response, SchemaObject, StatusCode,
};
use aide::operation::{OperationHandler, OperationInput, OperationOutput};
use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::handler::Handler;
use schemars::{JsonSchema, json_schema};

use super::inputs::body;
use super::outputs::json_of;
use crate::http::App;

/// Who asks, where the types of a handler do not say it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(in crate::http) enum Who {
    /// An operator, or a machine in his place.
    Operator,
    /// A person of an account.
    Person,
    /// A device.
    Device,
    /// A delivery server, a slave.
    Server,
    /// A packager of other software.
    Packager,
}

impl Who {
    /// How each proves who he is: names of security schemes.
    pub(super) fn schemes(self) -> &'static [&'static str] {
        match self {
            Self::Operator => &["operatorCertificate", "machineToken"],
            Self::Person => &["personToken"],
            Self::Device => &["deviceCertificate"],
            Self::Server => &["serverCertificate"],
            Self::Packager => &["packagerToken"],
        }
    }

    pub(super) fn tell(self, operation: &mut Operation) {
        for scheme in self.schemes() {
            let needs = [((*scheme).to_owned(), Vec::new())];
            let needs = needs.into_iter().collect();
            if !operation.security.contains(&needs) {
                operation.security.push(needs);
            }
        }
    }
}

type Change = Box<dyn FnOnce(&mut GenContext, &mut Operation)>;

/// What an operation is for, and what its types do not say.
pub(in crate::http) struct About {
    summary: &'static str,
    changes: Vec<Change>,
}

/// What an operation is for.
pub(in crate::http) fn about(summary: &'static str) -> About {
    About {
        summary,
        changes: Vec::new(),
    }
}

impl From<&'static str> for About {
    fn from(summary: &'static str) -> Self {
        about(summary)
    }
}

/// Puts an answer down, unless there is one with this status.
pub(super) fn put(operation: &mut Operation, status: u16, response: Response) {
    let responses = operation.responses.get_or_insert_default();
    let responses = &mut responses.responses;
    responses
        .entry(StatusCode::Code(status))
        .or_insert(ReferenceOr::Item(response));
}

fn bytes() -> SchemaObject {
    SchemaObject {
        json_schema: json_schema!({}),
        example: None,
        external_docs: None,
    }
}

fn binary(media_type: &str) -> (String, MediaType) {
    let is_text = media_type.starts_with("text/");
    let schema = SchemaObject {
        json_schema: json_schema!({"type": "string"}),
        ..bytes()
    };
    let media = MediaType {
        schema: Some(if is_text { schema } else { bytes() }),
        ..MediaType::default()
    };
    (media_type.to_owned(), media)
}

impl About {
    fn also(mut self, change: impl FnOnce(&mut GenContext, &mut Operation) + 'static) -> Self {
        self.changes.push(Box::new(change));
        self
    }

    /// It answers with a `T` as JSON.
    pub(in crate::http) fn answers<T: JsonSchema>(self, status: u16) -> Self {
        self.also(move |context, operation| put(operation, status, json_of::<T>(context)))
    }

    /// It answers with something that is not JSON; without a media type: with nothing.
    pub(in crate::http) fn answers_with(
        self,
        status: u16,
        media_type: Option<&'static str>,
        description: &'static str,
    ) -> Self {
        self.also(move |_, operation| {
            let response = Response {
                description: description.to_owned(),
                content: media_type.map(binary).into_iter().collect(),
                ..Response::default()
            };
            put(operation, status, response);
        })
    }

    /// What is not JSON comes as this, too, for who asks for it.
    pub(in crate::http) fn or_as(self, media_type: &'static str) -> Self {
        self.also(move |_, operation| {
            let responses = operation.responses.as_mut().into_iter();
            for (_, response) in responses.flat_map(|all| &mut all.responses) {
                if let ReferenceOr::Item(response) = response
                    && !response.content.is_empty()
                {
                    response.content.extend([binary(media_type)]);
                }
            }
        })
    }

    /// It may refuse with this status, beside those that the types tell of.
    pub(in crate::http) fn refuses(self, status: u16) -> Self {
        self.also(move |_, operation| put(operation, status, Response::default()))
    }

    /// Its body is not JSON.
    pub(in crate::http) fn takes(self, media_type: &'static str) -> Self {
        self.also(move |_, operation| {
            let body = RequestBody {
                content: [binary(media_type)].into_iter().collect(),
                required: true,
                ..RequestBody::default()
            };
            operation.request_body = Some(ReferenceOr::Item(body));
            for status in [408, 413] {
                put(operation, status, Response::default());
            }
        })
    }

    /// Its body is a `T` as JSON, which the handler reads itself.
    pub(in crate::http) fn takes_json<T: JsonSchema>(self) -> Self {
        self.also(move |context, operation| body::<T>(context, operation, "application/json"))
    }

    /// Who asks.
    pub(in crate::http) fn by(self, who: &'static [Who]) -> Self {
        self.also(move |_, operation| {
            for who in who {
                who.tell(operation);
            }
            for status in [401, 403] {
                put(operation, status, Response::default());
            }
        })
    }

    fn tell(self, tag: &str, operation: &mut Operation) {
        operation.summary = Some(self.summary.to_owned());
        operation.tags.push(tag.to_owned());
        in_context(|context| {
            for change in self.changes {
                change(context, operation);
            }
        });
    }
}

/// Routes that belong together, each described.
pub(in crate::http) struct Routes<S = App> {
    tag: &'static str,
    router: ApiRouter<S>,
}

macro_rules! methods {
    ($($method:ident $with:ident),*) => {$(
        #[doc = concat!("A handler of ", stringify!($method), ".")]
        pub(in crate::http) fn $method<H, I, O, T>(
            mut self,
            path: &str,
            handler: H,
            about: impl Into<About>,
        ) -> Self
        where
            H: Handler<T, S> + OperationHandler<I, O>,
            I: OperationInput,
            O: OperationOutput,
            T: 'static,
        {
            let (tag, about) = (self.tag, about.into());
            let described = routing::$with(handler, |mut operation| {
                about.tell(tag, operation.inner_mut());
                operation
            });
            self.router = self.router.api_route(path, described);
            self
        }
    )*};
}

impl<S: Clone + Send + Sync + 'static> Routes<S> {
    /// None yet; `tag` is what they are about.
    pub(in crate::http) fn of(tag: &'static str) -> Self {
        Self {
            tag,
            router: ApiRouter::new(),
        }
    }

    methods!(get get_with, post post_with, put put_with, patch patch_with, delete delete_with);

    /// Bodies have at most so many bytes.
    pub(in crate::http) fn bodies_up_to(self, bytes: usize) -> Self {
        Self {
            router: self.router.layer(DefaultBodyLimit::max(bytes)),
            ..self
        }
    }
}

impl<S: Clone + Send + Sync + 'static> From<Routes<S>> for ApiRouter<S> {
    fn from(routes: Routes<S>) -> Self {
        routes.router
    }
}

impl<S: Clone + Send + Sync + 'static> From<Routes<S>> for Router<S> {
    fn from(routes: Routes<S>) -> Self {
        routes.router.into()
    }
}
