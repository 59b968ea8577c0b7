package bundle

import _ "embed"

// Types are the TypeScript declarations of the module "picloud" and of what a
// script exports.
//
//go:embed types/picloud.d.ts
var Types string
