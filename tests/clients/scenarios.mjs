// What an application does with SQS through the JavaScript SDK: `node scenarios.mjs SCENARIO QUEUE`.
// `sqs.mjs` is the client of docs/clients.md. A scenario that does not hold throws.

import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import {
  ChangeMessageVisibilityCommand,
  CreateQueueCommand,
  DeleteMessageBatchCommand,
  DeleteMessageCommand,
  GetQueueAttributesCommand,
  GetQueueUrlCommand,
  QueueDoesNotExist,
  ReceiptHandleIsInvalid,
  ReceiveMessageCommand,
  SendMessageBatchCommand,
  SendMessageCommand,
} from "@aws-sdk/client-sqs";
import { sqs } from "./sqs.mjs";

const create = async (QueueName, Attributes) =>
  (await sqs.send(new CreateQueueCommand({ QueueName, Attributes }))).QueueUrl;

const receive = async (QueueUrl, more = {}) =>
  (await sqs.send(new ReceiveMessageCommand({ QueueUrl, WaitTimeSeconds: 5, ...more }))).Messages ?? [];

const md5 = (text) => createHash("md5").update(text).digest("hex");

const scenarios = {
  // The SDK itself throws when a digest that it is told does not fit what it sent or received.
  async roundTrip(name) {
    const QueueUrl = await create(name);
    const MessageBody = 'grüße, 世界 🌍 & <"quotes">\n';
    const MessageAttributes = {
      Text: { DataType: "String", StringValue: "überall" },
      Count: { DataType: "Number.int", StringValue: "42" },
      Bytes: { DataType: "Binary", BinaryValue: new Uint8Array([0, 127, 128, 255]) },
    };
    const sent = await sqs.send(new SendMessageCommand({ QueueUrl, MessageBody, MessageAttributes }));
    assert.equal(sent.MD5OfMessageBody, md5(MessageBody));

    const [message] = await receive(QueueUrl, {
      MessageAttributeNames: ["All"],
      MessageSystemAttributeNames: ["All"],
    });
    assert.equal(message.Body, MessageBody);
    assert.equal(message.MessageId, sent.MessageId);
    assert.equal(message.MD5OfBody, sent.MD5OfMessageBody);
    assert.equal(message.MD5OfMessageAttributes, sent.MD5OfMessageAttributes);
    assert.equal(message.MessageAttributes.Text.StringValue, "überall");
    assert.equal(message.MessageAttributes.Count.DataType, "Number.int");
    assert.deepEqual([...message.MessageAttributes.Bytes.BinaryValue], [0, 127, 128, 255]);
    assert.equal(message.Attributes.ApproximateReceiveCount, "1");
    assert.match(message.Attributes.SentTimestamp, /^\d{13}$/);

    await sqs.send(new DeleteMessageCommand({ QueueUrl, ReceiptHandle: message.ReceiptHandle }));
    assert.deepEqual(await receive(QueueUrl, { WaitTimeSeconds: 0 }), []);
  },

  // A batch is answered entry by entry: the good ones are there, the bad one is named.
  async batch(name) {
    const QueueUrl = await create(name);
    const ten = Array.from({ length: 10 }, (_, i) => ({ Id: `entry-${i}`, MessageBody: `body ${i}` }));
    const sent = await sqs.send(new SendMessageBatchCommand({ QueueUrl, Entries: ten }));
    assert.equal(sent.Successful.length, 10);
    assert.equal(sent.Failed, undefined);

    const got = [];
    while (got.length < 10) got.push(...(await receive(QueueUrl, { MaxNumberOfMessages: 10 })));
    assert.deepEqual(got.map((m) => m.Body).sort(), ten.map((e) => e.MessageBody));

    const Entries = got.map((m, i) => ({ Id: `${i}`, ReceiptHandle: m.ReceiptHandle }));
    Entries[3].ReceiptHandle = "none";
    const deleted = await sqs.send(new DeleteMessageBatchCommand({ QueueUrl, Entries }));
    assert.equal(deleted.Successful.length, 9);
    assert.deepEqual(deleted.Failed.map(({ Id, Code, SenderFault }) => [Id, Code, SenderFault]), [
      ["3", "ReceiptHandleIsInvalid", true],
    ]);
  },

  // The poll is on its way before the message is; the round trip between them lets it arrive first.
  async longPoll(name) {
    const QueueUrl = await create(name);
    const started = performance.now();
    const waiting = receive(QueueUrl, { WaitTimeSeconds: 20 });
    await sqs.send(new GetQueueAttributesCommand({ QueueUrl, AttributeNames: ["QueueArn"] }));
    await sqs.send(new SendMessageCommand({ QueueUrl, MessageBody: "wake up" }));

    assert.deepEqual((await waiting).map((m) => m.Body), ["wake up"]);
    assert.ok(performance.now() - started < 10_000);
  },

  // A message that is given back is received again, and counted, under a new handle.
  async visibility(name) {
    const QueueUrl = await create(name, { VisibilityTimeout: "600" });
    await sqs.send(new SendMessageCommand({ QueueUrl, MessageBody: "again" }));
    const [first] = await receive(QueueUrl);
    const change = { QueueUrl, ReceiptHandle: first.ReceiptHandle, VisibilityTimeout: 0 };
    await sqs.send(new ChangeMessageVisibilityCommand(change));

    const [second] = await receive(QueueUrl, {
      MessageSystemAttributeNames: ["ApproximateReceiveCount"],
    });
    assert.equal(second.MessageId, first.MessageId);
    assert.deepEqual(second.Attributes, { ApproximateReceiveCount: "2" });
    assert.notEqual(second.ReceiptHandle, first.ReceiptHandle);
  },

  // Order within a group, one group locked while its message is in flight, a repeated send taken once.
  async fifo(name) {
    const QueueUrl = await create(`${name}.fifo`, {
      FifoQueue: "true",
      ContentBasedDeduplication: "true",
    });
    const send = (MessageGroupId, MessageBody) =>
      sqs.send(new SendMessageCommand({ QueueUrl, MessageGroupId, MessageBody }));
    const first = await send("a", "a1");
    const repeated = await send("a", "a1");
    assert.equal(repeated.MessageId, first.MessageId);
    assert.match(first.SequenceNumber, /^\d{20}$/);
    await send("a", "a2");
    await send("b", "b1");

    const [a1] = await receive(QueueUrl, { MessageSystemAttributeNames: ["MessageGroupId"] });
    assert.deepEqual([a1.Body, a1.Attributes.MessageGroupId], ["a1", "a"]);
    const others = await receive(QueueUrl, { MaxNumberOfMessages: 10 });
    assert.deepEqual(others.map((m) => m.Body), ["b1"]);
    await sqs.send(new DeleteMessageCommand({ QueueUrl, ReceiptHandle: a1.ReceiptHandle }));
    assert.deepEqual((await receive(QueueUrl)).map((m) => m.Body), ["a2"]);
  },

  // Applications catch these by class and by name; the old code stays for those that look at it.
  async errors(name) {
    const QueueUrl = await create(name);
    await assert.rejects(sqs.send(new GetQueueUrlCommand({ QueueName: `${name}-not` })), (error) => {
      assert.ok(error instanceof QueueDoesNotExist);
      assert.equal(error.name, "QueueDoesNotExist");
      assert.equal(error.Code, "AWS.SimpleQueueService.NonExistentQueue");
      assert.equal(error.message, "The specified queue does not exist.");
      assert.equal(error.$fault, "client");
      assert.equal(error.$metadata.httpStatusCode, 400);
      assert.ok(error.$metadata.requestId);
      return true;
    });
    await assert.rejects(
      sqs.send(new DeleteMessageCommand({ QueueUrl, ReceiptHandle: "none" })),
      ReceiptHandleIsInvalid,
    );
    const Entries = Array.from({ length: 11 }, (_, i) => ({ Id: `${i}`, MessageBody: "x" }));
    await assert.rejects(sqs.send(new SendMessageBatchCommand({ QueueUrl, Entries })), {
      name: "TooManyEntriesInBatchRequest",
    });
  },
};

const [scenario, queue] = process.argv.slice(2);
await scenarios[scenario](queue);
