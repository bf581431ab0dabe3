// The Node.js runtime: loads a handler, asks the Lambda Runtime API for events, and posts what comes of them.
//
// It speaks to AWS's conventions for handlers: ES modules and CommonJS; async functions, callbacks and the context's
// done, succeed and fail; `callbackWaitsForEmptyEventLoop`. Response streaming is refused by name.

import fs from "node:fs";
import http from "node:http";
import { createRequire } from "node:module";
import path from "node:path";
import { format } from "node:util";
import { pathToFileURL } from "node:url";

const env = process.env;
const [host, port] = env.AWS_LAMBDA_RUNTIME_API.split(":");
const root = process.cwd();
const major = Number(process.versions.node.split(".")[0]);
const agent = new http.Agent({ keepAlive: true, maxSockets: 1 });

const PAUSE = new Int32Array(new SharedArrayBuffer(4));

let requestId;

// ---- The log

const LEVELS = ["TRACE", "DEBUG", "INFO", "WARN", "ERROR", "FATAL"];
const asJson = env.AWS_LAMBDA_LOG_FORMAT === "JSON";
const least = LEVELS.indexOf(env.AWS_LAMBDA_LOG_LEVEL);

function record(level, parts) {
  // AWS: an object that is logged alone stays one; errors are taken apart (Lambda guide, "Log formats").
  const told = { timestamp: new Date().toISOString(), level, requestId };
  const [only] = parts;
  try {
    const plain = parts.length === 1 && !isError(only) && only !== undefined;
    const text = JSON.stringify({ ...told, message: plain ? only : format(...parts), ...failure(parts) });
    return `${text}\n`;
  } catch {
    return `${JSON.stringify({ ...told, message: format(...parts) })}\n`;
  }
}

function failure(parts) {
  const error = parts.find(isError);
  if (error === undefined) return {};
  const { errorType, errorMessage, trace } = errorDocument(error);
  return { errorType, errorMessage, stackTrace: trace };
}

function log(level, ...parts) {
  if (LEVELS.indexOf(level) < least) return;
  print(
    asJson
      ? record(level, parts)
      : `${new Date().toISOString()}\t${requestId}\t${level}\t${format(...parts)}\n`,
  );
}

function print(text) {
  // In a frame, as the other runtimes' clients write it: what has several lines stays one event.
  const body = Buffer.from(text);
  const frame = Buffer.alloc(16 + body.length);
  frame.writeUInt32BE(0xa55a0003, 0);
  frame.writeUInt32BE(body.length, 4);
  frame.writeBigUInt64BE(BigInt(Date.now()) * 1000n, 8);
  body.copy(frame, 16);
  for (let at = 0; at < frame.length; ) {
    try {
      at += fs.writeSync(1, frame, at);
    } catch (error) {
      if (error.code === "EPIPE") process.exit(1); // nobody is left to hear it
      if (error.code !== "EAGAIN") throw error;
      Atomics.wait(PAUSE, 0, 0, 1);
    }
  }
}

for (const [method, level] of Object.entries({
  log: "INFO", info: "INFO", debug: "DEBUG", trace: "TRACE", warn: "WARN", error: "ERROR",
})) {
  console[method] = (...parts) => log(level, ...parts);
}

// ---- Errors

class RuntimeError extends Error {
  constructor(kind, message, cause) {
    super(message);
    this.name = `Runtime.${kind}`;
    if (cause?.stack) {
      const frames = cause.stack.split("\n").filter((line) => line.startsWith("    at "));
      this.stack = [`${this.name}: ${message}`, ...frames].join("\n");
    }
  }
}

function isError(value) {
  return value instanceof Error || Object.prototype.toString.call(value) === "[object Error]";
}

function errorDocument(error) {
  if (!isError(error)) {
    return { errorType: typeof error, errorMessage: String(error), trace: [] };
  }
  return {
    errorType: error.name,
    errorMessage: error.message,
    trace: (error.stack || "").split("\n"),
  };
}

function logError(title, error) {
  if (asJson) {
    log("ERROR", error);
    return;
  }
  const { trace, ...document } = errorDocument(error);
  const own = isError(error) ? Object.fromEntries(Object.entries(error)) : {};
  log("ERROR", "%s \t%s", title, JSON.stringify({ ...document, ...own, stack: trace }));
}

// ---- The Runtime API

function call(method, action, body, headers = {}) {
  return new Promise((resolve, reject) => {
    const request = http.request(
      { host, port, method, agent, path: `/2018-06-01/runtime/${action}`, headers },
      (response) => {
        const pieces = [];
        response.on("data", (piece) => pieces.push(piece));
        response.on("error", reject);
        response.on("end", () => {
          const text = Buffer.concat(pieces).toString();
          if (response.statusCode < 300) resolve({ headers: response.headers, text });
          else if (response.statusCode === 413) resolve({ headers: response.headers, text });
          else reject(new Error(`the Runtime API answered ${response.statusCode}: ${text}`));
        });
      },
    );
    request.on("error", reject);
    request.end(body);
  });
}

function post(action, body, kind) {
  const headers = { "Content-Type": "application/json", "Content-Length": Buffer.byteLength(body) };
  if (kind) headers["Lambda-Runtime-Function-Error-Type"] = kind;
  return call("POST", action, body, headers);
}

function postError(action, error) {
  const document = errorDocument(error);
  // A header has to be Latin-1 without control characters; names of errors need not.
  const kind = encodeURIComponent(document.errorType);
  return post(action, JSON.stringify(document), kind);
}

// ---- The handler

function exists(file) {
  return fs.existsSync(file) && fs.statSync(file).isFile();
}

async function load(folder, name) {
  const file = path.resolve(root, folder, name);
  const require = createRequire(path.join(root, "noop.js"));
  try {
    for (const candidate of [file, `${file}.js`, `${file}.mjs`, `${file}.cjs`]) {
      if (!exists(candidate)) continue;
      const isModule = candidate.endsWith(".mjs") || (candidate.endsWith(".js") && inModule(candidate));
      return isModule ? await import(pathToFileURL(candidate).href) : require(candidate);
    }
    return require(require.resolve(path.join(folder, name), { paths: [root] }));
  } catch (error) {
    if (error instanceof SyntaxError) {
      throw new RuntimeError("UserCodeSyntaxError", `SyntaxError: ${error.message}`, error);
    }
    if (error?.code === "MODULE_NOT_FOUND" || error?.code === "ERR_MODULE_NOT_FOUND") {
      throw new RuntimeError("ImportModuleError", `Error: ${error.message}`, error);
    }
    throw error;
  }
}

/** Whether the nearest package.json makes a `.js` file an ES module. */
function inModule(file) {
  for (let folder = path.dirname(file); ; folder = path.dirname(folder)) {
    try {
      return JSON.parse(fs.readFileSync(path.join(folder, "package.json"), "utf8")).type === "module";
    } catch (error) {
      if (error.code !== "ENOENT") return false;
    }
    if (folder === root || folder === path.dirname(folder)) return false;
  }
}

async function findHandler(text) {
  if (text.includes("..")) {
    throw new RuntimeError(
      "MalformedHandlerName",
      `'${text}' is not a valid handler name. Use absolute paths when specifying root directories in handler names.`,
    );
  }
  const base = path.basename(text);
  const folder = text.slice(0, text.lastIndexOf(base));
  const match = /^([^.]*)\.(.*)$/.exec(base);
  if (!match) throw new RuntimeError("MalformedHandlerName", "Bad handler");
  const module = await load(folder, match[1]);
  let handler = resolve(module, match[2]);
  if (handler === undefined && module?.default) handler = resolve(module.default, match[2]);
  if (handler === undefined) {
    throw new RuntimeError("HandlerNotFound", `${text} is undefined or not exported`);
  }
  if (typeof handler !== "function") {
    throw new RuntimeError("HandlerNotFound", `${text} is not a function`);
  }
  if (major >= 24 && handler.length > 2) {
    throw new RuntimeError(
      "CallbackHandlerDeprecated",
      "AWS Lambda has removed support for callback-based function handlers starting with Node.js 24. " +
        "You need to modify this function to use a supported handler signature to use Node.js 24 or later.",
    );
  }
  return handler;
}

function resolve(object, names) {
  return names.split(".").reduce((found, name) => found?.[name], object);
}

// ---- One event

/** Runs a handler; the promise is of its result, and rejects with its error. */
function run(handler, event, headers) {
  return new Promise((resolve, reject) => {
    const waiting = { loop: true };
    let over = false;
    const finish = (settle, value) => {
      if (over) return;
      over = true;
      process.removeAllListeners("beforeExit");
      settle(value);
    };
    // What a callback was given is answered when nothing is left to do, unless the handler says not to wait.
    const complete = (error, result) => {
      const settle = error === null || error === undefined ? resolve : reject;
      const value = settle === resolve ? result : error;
      if (!waiting.loop) {
        setImmediate(() => finish(settle, value));
        return;
      }
      process.removeAllListeners("beforeExit");
      process.once("beforeExit", () => finish(settle, value));
    };
    process.once("beforeExit", () => finish(resolve, null));
    const context = makeContext(headers, waiting, complete);
    const result = handler(event, context, complete);
    if (typeof result?.then === "function") {
      result.then((value) => finish(resolve, value), (error) => finish(reject, error));
    }
  });
}

function makeContext(headers, waiting, complete) {
  const deadline = Number(headers["lambda-runtime-deadline-ms"]);
  const client = headers["lambda-runtime-client-context"];
  const identity = headers["lambda-runtime-cognito-identity"];
  const context = {
    get callbackWaitsForEmptyEventLoop() {
      return waiting.loop;
    },
    set callbackWaitsForEmptyEventLoop(value) {
      waiting.loop = value;
    },
    functionVersion: env.AWS_LAMBDA_FUNCTION_VERSION,
    functionName: env.AWS_LAMBDA_FUNCTION_NAME,
    memoryLimitInMB: env.AWS_LAMBDA_FUNCTION_MEMORY_SIZE,
    logGroupName: env.AWS_LAMBDA_LOG_GROUP_NAME,
    logStreamName: env.AWS_LAMBDA_LOG_STREAM_NAME,
    clientContext: client ? JSON.parse(client) : undefined,
    identity: identity ? JSON.parse(identity) : undefined,
    invokedFunctionArn: headers["lambda-runtime-invoked-function-arn"],
    awsRequestId: headers["lambda-runtime-aws-request-id"],
    getRemainingTimeInMillis: () => deadline - Date.now(),
  };
  if (major < 24) {
    context.done = (error, result) => {
      waiting.loop = false;
      complete(error, result);
    };
    context.succeed = (result) => context.done(null, result);
    context.fail = (error) => context.done(error === undefined || error === null ? "handled" : error);
  }
  return context;
}

function serialize(result) {
  try {
    return JSON.stringify(result === undefined ? null : result) ?? "null";
  } catch {
    throw new RuntimeError("MarshalError", "Unable to stringify response body");
  }
}

async function serve(handler) {
  for (;;) {
    requestId = undefined;
    const { headers, text } = await call("GET", "invocation/next");
    requestId = headers["lambda-runtime-aws-request-id"];
    if (headers["lambda-runtime-trace-id"]) env._X_AMZN_TRACE_ID = headers["lambda-runtime-trace-id"];
    else delete env._X_AMZN_TRACE_ID;
    let body;
    try {
      body = serialize(await run(handler, JSON.parse(text), headers));
    } catch (error) {
      logError("Invoke Error", error);
      await postError(`invocation/${requestId}/error`, error);
      continue;
    }
    await post(`invocation/${requestId}/response`, body);
  }
}

// ---- The process

/** Reports what nobody caught, and ends. */
async function die(title, error, code) {
  logError(title, error);
  try {
    await postError(requestId ? `invocation/${requestId}/error` : "init/error", error);
  } finally {
    process.exit(code);
  }
}

process.on("uncaughtException", (error) => die("Uncaught Exception", error, 129));
process.on("unhandledRejection", (reason) => {
  const error = new RuntimeError("UnhandledPromiseRejection", String(reason), isError(reason) ? reason : undefined);
  error.reason = reason;
  die("Unhandled Promise Rejection", error, 128);
});

globalThis.awslambda = {
  streamifyResponse() {
    throw new Error("Penstock does not implement response streaming (awslambda.streamifyResponse) yet.");
  },
};

let handler;
try {
  handler = await findHandler(env._HANDLER);
} catch (error) {
  await die("Uncaught Exception", error, 1);
}
serve(handler).catch((error) => die("Uncaught Exception", error, 1));
