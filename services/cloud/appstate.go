package cloud

// AppState is all that dispatching a request to an app needs to know of it.
type AppState struct {
	App         App
	FormerSlugs []string // slugs that redirect to the app's current one
	Domains     []Domain
	Routes      []Route
	Scripts     []Runnable // the endpoints
	Env         []EnvValue // by name
}
