// Package cloudtest is for tests alone: a real database for each test, and fakes
// and factories that more than one package's tests need.
package cloudtest
