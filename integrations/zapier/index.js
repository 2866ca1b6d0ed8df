'use strict';

const authentication = require('./authentication');
const { addKey, raiseProblem } = require('./lib/api');
const choices = require('./triggers/choices');
const event = require('./triggers/event');
const submitTask = require('./creates/submit_task');
const findTask = require('./searches/find_task');

module.exports = {
  version: require('./package.json').version,
  platformVersion: require('zapier-platform-core').version,
  authentication,
  beforeRequest: [addKey],
  afterResponse: [raiseProblem],
  triggers: {
    [event.key]: event,
    ...Object.fromEntries(choices.map((trigger) => [trigger.key, trigger])),
  },
  creates: { [submitTask.key]: submitTask },
  searches: { [findTask.key]: findTask },
};
