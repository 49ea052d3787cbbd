//! Routes, and what the `OpenAPI` document says of them.
//!
//! A router of utoipa describes each route as it is added, so that a server that only serves would carry the whole
//! document in memory. Here a route brings a function that describes it, and who wants the document calls it.

use axum::{
    Router,
    handler::Handler,
    routing::{MethodFilter, MethodRouter},
};
use utoipa::{
    __dev::{SchemaReferences, Tags},
    Path,
    openapi::{OpenApi, path::HttpMethod},
};

use crate::state::Shared;

/// Adds one handler to a document.
type Describe = fn(&mut OpenApi);

/// The handlers of one path.
pub struct Route {
    path: String,
    handlers: MethodRouter<Shared>,
    described: Vec<Describe>,
}

impl Route {
    /// The path of a handler, with no handler yet.
    pub fn at<P: Path>() -> Self {
        Self { path: P::path(), handlers: MethodRouter::new(), described: Vec::new() }
    }

    /// Adds a handler, `P` being what [`utoipa::path`] says of it.
    #[must_use]
    pub fn on<P, H, T>(mut self, handler: H) -> Self
    where
        P: Path + for<'t> Tags<'t> + SchemaReferences,
        H: Handler<T, Shared>,
        T: 'static,
    {
        for method in P::methods() {
            self.handlers = self.handlers.on(filter(&method), handler.clone());
        }
        self.described.push(describe::<P>);
        self
    }
}

fn filter(method: &HttpMethod) -> MethodFilter {
    match method {
        HttpMethod::Get => MethodFilter::GET,
        HttpMethod::Put => MethodFilter::PUT,
        HttpMethod::Post => MethodFilter::POST,
        HttpMethod::Head => MethodFilter::HEAD,
        HttpMethod::Patch => MethodFilter::PATCH,
        HttpMethod::Trace => MethodFilter::TRACE,
        HttpMethod::Delete => MethodFilter::DELETE,
        HttpMethod::Options => MethodFilter::OPTIONS,
    }
}

fn describe<P: Path + for<'t> Tags<'t> + SchemaReferences>(document: &mut OpenApi) {
    let mut operation = P::operation();
    let tags = P::tags();
    if !tags.is_empty() {
        operation.tags.get_or_insert_default().extend(tags.into_iter().map(ToOwned::to_owned));
    }
    document.paths.add_path_operation(P::path(), P::methods(), operation);
    let mut schemas = Vec::new();
    P::schemas(&mut schemas);
    document.components.get_or_insert_default().schemas.extend(schemas);
}

/// The routes of one resource, or of many.
#[derive(Default)]
pub struct Routes {
    router: Router<Shared>,
    described: Vec<Describe>,
}

impl Routes {
    /// None yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds the handlers of a path.
    #[must_use]
    pub fn routes(mut self, route: Route) -> Self {
        self.router = self.router.route(&route.path, route.handlers);
        self.described.extend(route.described);
        self
    }

    /// All of these.
    pub fn all(routes: impl IntoIterator<Item = Self>) -> Self {
        routes.into_iter().fold(Self::new(), |mut all, some| {
            all.router = all.router.merge(some.router);
            all.described.extend(some.described);
            all
        })
    }

    /// What serves them.
    pub fn router(self) -> Router<Shared> {
        self.router
    }

    /// Adds them to a document.
    pub fn describe(&self, document: &mut OpenApi) {
        self.described.iter().for_each(|describe| describe(document));
    }
}

/// The [`Route`] of handlers that share a path.
macro_rules! routes {
    ($handler:ident $(, $more:ident)*) => {
        pastey::paste! {
            $crate::http::routes::Route::at::<[<__path_ $handler>]>()
                .on::<[<__path_ $handler>], _, _>($handler)
                $(.on::<[<__path_ $more>], _, _>($more))*
        }
    };
}
pub(crate) use routes;
