// The smallest script: a function that answers every request with JSON.
//
//   pic deploy examples/hello.ts
//   curl http://localhost:8080/hello

export default function fetch() {
  return { message: "Hello from PiCloud!" };
}
