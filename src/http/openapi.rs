//! The OpenAPI document: what every route has in common. What is special about a route stands on its handler.

use utoipa::openapi::{
    Info, OpenApi, OpenApiBuilder,
    security::{HttpAuthScheme, HttpBuilder, SecurityScheme},
};

/// The head of the document.
pub fn start() -> OpenApi {
    let info = Info::new("Lockstep", env!("CARGO_PKG_VERSION"));
    OpenApiBuilder::new().info(info).build()
}

/// The document with what all routes share.
pub fn finished(mut document: OpenApi) -> OpenApi {
    let bearer = HttpBuilder::new().scheme(HttpAuthScheme::Bearer).bearer_format("JWT").build();
    let components = document.components.get_or_insert_with(Default::default);
    components.add_security_scheme("token", SecurityScheme::Http(bearer));
    document
}
