// Package reported is what was said of which Service, what of that is due again, and how much may be said at once: pure.
package reported
