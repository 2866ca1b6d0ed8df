'use strict';

const event = require('../triggers/sample.json');

module.exports = { task: event.data };
