//! Rows that are read by the names of their columns.

/// A struct with [`sqlx::FromRow`]: each field from the column of its name. For any database that has its types.
macro_rules! named_row {
    ($(#[$about:meta])* $seen:vis struct $name:ident { $($(#[$doc:meta])* $by:vis $field:ident: $kind:ty,)+ }) => {
        $(#[$about])*
        $seen struct $name { $($(#[$doc])* $by $field: $kind,)+ }

        impl<'r, R: sqlx::Row> sqlx::FromRow<'r, R> for $name
        where
            for<'c> &'c str: sqlx::ColumnIndex<R>,
            $($kind: sqlx::Decode<'r, R::Database> + sqlx::Type<R::Database>,)+
        {
            fn from_row(row: &'r R) -> std::result::Result<Self, sqlx::Error> {
                Ok(Self { $($field: row.try_get(stringify!($field))?,)+ })
            }
        }
    };
}
pub(in crate::adapters) use named_row;
