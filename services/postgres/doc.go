// Package postgres keeps everything in PostgreSQL, the single source of truth:
// the stores that the services declare, the schema's migration and the pool of
// connections. It is the only package that writes SQL, and the border at which
// the driver's errors become *cloud.Error.
package postgres
